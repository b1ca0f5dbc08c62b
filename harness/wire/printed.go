package wire

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// printed returns a value in the binary format as the server would print it, in UTC, if its type is one that Postgres is born with and its bytes
// are all there; else \x and the bytes.
func printed(oid uint32, value []byte) string {
	types := pgtype.NewMap() // the types are shared; it is not safe for concurrent use
	t, ok := types.TypeForOID(oid)
	if !ok || oid == pgtype.ByteaOID {
		return `\x` + hex.EncodeToString(value)
	}
	switch oid {
	case pgtype.JSONBOID:
		if len(value) > 0 {
			return string(value[1:]) // its version is before it
		}
	case pgtype.JSONOID:
		return string(value)
	}
	decoded, err := t.Codec.DecodeValue(types, oid, pgtype.BinaryFormatCode, value)
	if err != nil {
		return `\x` + hex.EncodeToString(value)
	}
	switch v := decoded.(type) {
	case time.Time:
		if oid == pgtype.TimestamptzOID {
			return v.UTC().Format("2006-01-02 15:04:05.999999-07")
		}
	case float32:
		return float(float64(v), 32, 1e6)
	case float64:
		return float(v, 64, 1e15)
	}
	text, err := types.Encode(oid, pgtype.TextFormatCode, decoded, nil)
	if err != nil {
		return `\x` + hex.EncodeToString(value)
	}
	if oid == pgtype.TimeOID { // which has all six digits
		return string(bytes.TrimRight(bytes.TrimRight(text, "0"), "."))
	}
	return string(text)
}

// float returns a number in the shortest way; from large on, with an exponent.
func float(v float64, bits int, large float64) string {
	switch size := math.Abs(v); {
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	case size >= large || size < 1e-4 && v != 0:
		return strconv.FormatFloat(v, 'e', -1, bits)
	}
	return strconv.FormatFloat(v, 'f', -1, bits)
}
