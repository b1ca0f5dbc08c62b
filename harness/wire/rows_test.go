package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/interlock-pg/interlock/harness/wire"
)

// values are of the types that drivers send and read in the binary format.
var values = []string{
	`true`, `false`, `null::bool`, `(-32768)::int2`, `2147483647::int4`, `(-9223372036854775808)::int8`, `1.5::float4`, `0.1::float4`, `0.1::float8`, `123456789012345.6::float8`, `1e15::float8`, `-1e-5::float8`, `1234567::float4`, `0::float8`,
	`'NaN'::float8`, `'-Infinity'::float8`, `'x'::"char"`, `'한글 "x"'::text`, `''::text`, `'v'::varchar(3)`, `'c'::char(4)`, `'n'::name`,
	`'\x00ff'::bytea`, `'6f1e7a52-93a2-4d6b-8e0c-0a1b2c3d4e5f'::uuid`, `'2026-01-02 03:04:05.060708'::timestamp`, `'infinity'::timestamp`,
	`'2026-01-02 03:04:05+09'::timestamptz`, `'1999-12-31 23:59:59.5'::timestamptz`, `'-infinity'::timestamptz`, `'2026-01-02'::date`, `'12:34:56'::time`,
	`12.34::numeric`, `1.50::numeric`, `(-0.001)::numeric`, `1e20::numeric`, `'NaN'::numeric`, `42::oid`, `'{"b": 1, "a": [2]}'::json`, `'{"a": 2, "b": 1}'::jsonb`,
	`'{1,2,NULL}'::int4[]`, `'{"a b",c}'::text[]`,
}

// TestKeep: the first rows of a step are what the server would print, in whatever format the client asks for them, and the client gets them all.
func TestKeep(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true, Keep: 2})
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			conn, s := b.connect(mode.String(), func(c *pgx.ConnConfig) {
				c.DefaultQueryExecMode = mode
				c.RuntimeParams["extra_float_digits"] = "1"
			})
			s.Open(true)
			result := func(sql string, args ...any) wire.Result {
				rows, err := conn.Query(t.Context(), sql, args...)
				require.NoError(t, err)
				n := 0
				for rows.Next() {
					n++
				}
				require.NoError(t, rows.Err())
				state := b.wait(s, "it has answered", func(s wire.State) bool { return s.Phase == wire.Quiet })
				if state.Last.Kind == wire.Statement {
					require.EqualValues(t, n, state.Result.Rows)
					return state.Result
				}
				for _, e := range b.events(s.Name()) { // the one before the commit
					if e.Kind == wire.Answered && e.Step.Index == state.Last.Index-1 {
						state.Result = e.Result
					}
				}
				require.EqualValues(t, n, state.Result.Rows)
				return state.Result
			}
			for range 2 { // the second time, nothing is described any more
				for _, value := range values {
					var want *string
					require.NoError(t, b.control.QueryRow(t.Context(), `select case when v is not null then format('%s', v) end from (select `+value+` as v) x`).Scan(&want))
					r := result(`select ` + value + ` as v, 'after'::text as w from generate_series(1, 5)`)
					require.Equal(t, []string{"v", "w"}, r.Columns)
					require.Len(t, r.Values, 2)
					for _, row := range r.Values {
						require.Equal(t, show(want), show(row[0]), value)
						require.Equal(t, "after", *row[1])
					}
				}
			}
			r := result(`select repeat('가나', 1000), repeat('x', 200), convert_to(repeat('x', 300), 'utf8'), 7`)
			row := r.Values[0]
			require.Equal(t, strings.Repeat("가나", 33)+"…", *row[0])
			require.Equal(t, strings.Repeat("x", 200), *row[1])
			require.Equal(t, `\x`+strings.Repeat("78", 99)+"…", *row[2])
			require.Equal(t, "7", *row[3])
			require.Equal(t, []string{"id"}, result(`select 1 as id where false`).Columns)
			require.Equal(t, [][]*string{{}}, emptied(result(`select`).Values))
		})
	}
	conn, s := b.connect("several")
	s.Open(true)
	_, err := conn.Exec(t.Context(), `select 1 as a; select 2 as b union all select 3; set a.b = 1`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	r := b.events("several")
	for _, e := range r {
		if e.Kind == wire.Answered && e.Step.Statements == 3 {
			require.Equal(t, []string{"b"}, e.Result.Columns)
			require.Equal(t, "2 3", *e.Result.Values[0][0]+" "+*e.Result.Values[1][0])
			return
		}
	}
	t.Fatal("the string was not one step")
}

func emptied(rows [][]*string) [][]*string {
	for i := range rows {
		rows[i] = append([]*string{}, rows[i]...)
	}
	return rows
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}

// TestParameter: what a client binds can be read, in whatever format it sends it.
func TestParameter(t *testing.T) {
	b := newBench(t, "", wire.Config{Split: true})
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			conn, s := b.connect(mode.String(), func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
			s.Open(true)
			for _, c := range []struct {
				kind  string
				value any
				want  string
			}{
				{"int4", 42, "42"},
				{"bool", true, "t"},
				{"text", "점검", "점검"},
				{"uuid", "6f1e7a52-93a2-4d6b-8e0c-0a1b2c3d4e5f", "6f1e7a52-93a2-4d6b-8e0c-0a1b2c3d4e5f"},
				{"timestamptz", "2026-01-02 03:04:05+09", "2026-01-01 18:04:05+00"},
				{"date", "2026-01-02", "2026-01-02"},
				{"numeric", "1.5", "1.5"},
				{"int4[]", []int32{1, 2}, "{1,2}"},
				{"text", nil, "NULL"},
				{"bytea", []byte{1, 0xff}, `\x01ff`},
			} {
				if text, ok := c.value.(string); ok && c.kind != "text" { // a Go value, which pgx sends in the binary format
					require.NoError(t, b.control.QueryRow(t.Context(), `select $1::text::`+c.kind, text).Scan(&c.value))
				}
				_, err := conn.Exec(t.Context(), `select $1::`+c.kind, c.value)
				require.NoError(t, err)
				events := b.events(s.Name())
				for i := len(events) - 1; i >= 0; i-- {
					if e := events[i]; e.Kind == wire.Held || e.Kind == wire.Released && e.Step.Kind == wire.Statement {
						require.Equal(t, c.want, e.Step.Parameters[0].String(), c.kind)
						require.NotZero(t, e.Step.Parameters[0].Type)
						break
					}
				}
			}
		})
	}
	require.Equal(t, `\x0102`, wire.Parameter{Binary: []byte{1, 2}}.String())
	require.Equal(t, `\x0102`, wire.Parameter{Binary: []byte{1, 2}, Type: 23}.String(), "which has four bytes")
}
