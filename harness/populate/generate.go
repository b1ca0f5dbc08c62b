package populate

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// random makes SQL expressions that draw from the row number. Each draw is another stream.
type random struct {
	salt   uint64
	drawn  uint64
	number string // what the row number is called; default n
}

// draws returns the stream of a purpose.
func (f *filler) draws(purpose ...string) *random {
	h := fnv.New64a()
	fmt.Fprint(h, f.config.Seed, "\x00", strings.Join(purpose, "\x00"))
	return &random{salt: h.Sum64()}
}

// draw is a number from 0 to 2^63-1.
func (r *random) draw() string { return r.of(or(r.number, "n")) }

func (r *random) of(number string) string {
	r.drawn++
	return fmt.Sprintf("(hashint8extended(%s, '%d') & 9223372036854775807)", number, int64(r.salt+r.drawn)) //nolint:gosec // wraps, as a salt may
}

// below is a number from 0 to limit-1.
func (r *random) below(limit int64) string { return fmt.Sprintf("(%s %% %d)", r.draw(), limit) }

// upTo is below, but the row number itself, as far as that goes, if it is to be distinct.
func (r *random) upTo(limit int64, distinct bool) string {
	if distinct {
		return fmt.Sprintf("(n %% %d)", limit)
	}
	return r.below(limit)
}

const words = `(array['amber','birch','cedar','delta','ember','fjord','grove','haven','iris','jade','kelp','lotus','maple','north','olive','pearl',` +
	`'quartz','river','stone','tulip','umber','vista','willow','xenon','yarrow','zephyr'])`

func (r *random) word() string { return words + "[1 + " + r.below(26) + "]" }

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// value returns an expression for values of a type, or none if it does not know the type. Distinct ones differ from row to row as far as the type
// has room, and ranges among them do not overlap. base is the type with its modifiers.
func (f *filler) value(k *kind, base string, r *random, distinct bool) string {
	switch k.class {
	case "d":
		return f.value(f.types[k.base], k.baseName, r, distinct)
	case "e":
		if len(k.labels) == 0 {
			return ""
		}
		return fmt.Sprintf("(enum_range(null::%s))[1 + %s]", k.name, r.upTo(int64(len(k.labels)), distinct))
	case "r":
		return f.span(k, r, distinct)
	case "m":
		return call(k.name, f.value(f.types[k.ranges], f.types[k.ranges].name, r, distinct))
	case "c":
		return f.row(k, r, distinct)
	}
	if k.array {
		return f.list(k, base, r, distinct)
	}
	return ordinary(k, base, r, distinct)
}

// row is a value of a composite type.
func (f *filler) row(k *kind, r *random, distinct bool) string {
	var parts []string
	for _, a := range k.attributes {
		value := f.value(f.types[a], f.types[a].name, r, distinct)
		if f.checked(f.types[a]) {
			value = ""
		}
		parts = append(parts, fmt.Sprintf("(%s)::%s", or(value, "null"), f.types[a].name))
	}
	return "row(" + strings.Join(parts, ", ") + ")::" + k.name
}

// list is an array of up to three elements; of three, if it is to be distinct.
func (f *filler) list(k *kind, base string, r *random, distinct bool) string {
	if f.checked(f.types[k.element]) {
		return "'{}'"
	}
	element := strings.TrimSuffix(base, "[]")
	one := func() string { return f.value(f.types[k.element], element, r, distinct) }
	if one() == "" {
		return ""
	}
	values := fmt.Sprintf("(array[%s, %s, %s]::%s[])", one(), one(), one(), element)
	if distinct {
		return values
	}
	return values + "[1:" + r.below(4) + "]"
}

// ordinary is a value of a type that is made of no other.
func ordinary(k *kind, base string, r *random, distinct bool) string {
	number := func(limit int64) string { return r.upTo(limit, distinct) }
	switch k.short {
	case "bool":
		return number(2) + " = 1"
	case "int2":
		return number(30_000)
	case "int4":
		return pick(distinct, number(2_000_000_000), r.below(1_000_000))
	case "int8":
		return pick(distinct, number(1e18), r.below(1_000_000_000))
	case "oid":
		return number(1_000_000)
	case "float4", "float8", "money":
		return number(100_000_000) + "::numeric / 100"
	case "numeric":
		digits, scale := modifiers(base)
		var limit int64 = 1
		for range min(digits, max(scale+6, 1), 17) {
			limit *= 10
		}
		return fmt.Sprintf("%s::numeric * 1e%d", number(limit), -scale)
	case "text", "varchar", "bpchar", "name", "citext":
		return text(k, base, r, distinct)
	case "char":
		return "chr((97 + " + number(26) + ")::int)"
	case "date":
		return pick(distinct, "date '2000-01-01' + "+number(1_000_000)+"::int", "date '2025-01-01' + "+r.below(730)+"::int")
	case "time":
		return "time '00:00' + " + number(86_400) + " * interval '1 second'"
	case "timetz":
		return "((time '00:00' + " + number(86_400) + " * interval '1 second')::text || '+00')"
	case "timestamp", "timestamptz":
		return fmt.Sprintf("%s '2025-01-01 00:00:00+00' + %s * interval '1 second' + %s * interval '1 microsecond'", k.short,
			pick(distinct, "(n * 60 + "+r.below(60)+")", r.below(31_536_000)), r.below(1_000_000))
	case "interval":
		return number(1_000_000) + " * interval '1 second'"
	case "uuid":
		return "md5(concat(" + r.draw() + ", ' ', " + r.draw() + "))"
	case "json", "jsonb":
		return k.short + "_build_object('word', " + r.word() + ", 'number', " + number(1_000_000) + ", 'list', " + k.short + "_build_array(" + r.below(10) + "))"
	case "bytea":
		return "decode(md5((" + pick(distinct, "n", r.draw()) + ")::text), 'hex')"
	case "bit", "varbit":
		digits, _ := modifiers(base)
		if k.short == "bit" && !strings.Contains(base, "(") {
			digits = 1
		}
		return fmt.Sprintf("%s::bit(%d)", pick(distinct, "n", r.draw()), min(digits, 64))
	case "inet", "cidr":
		return "(inet '10.0.0.0' + " + number(16_777_216) + ")"
	case "macaddr":
		return "lpad(to_hex(" + number(1<<40) + "), 12, '0')"
	case "macaddr8":
		return "lpad(to_hex(" + number(1<<40) + "), 16, '0')"
	case "point":
		return "point(" + number(1000) + ", " + r.below(1000) + ")"
	case "box", "lseg", "line":
		return k.short + "(point(" + number(1000) + ", 0), point(" + r.below(1000) + ", 1 + " + r.below(100) + "))"
	case "circle":
		return "circle(point(" + number(1000) + ", 0), 1 + " + r.below(100) + ")"
	case "polygon":
		return "polygon(box(point(" + number(1000) + ", 0), point(" + r.below(1000) + ", 1)))"
	case "path":
		return "path(polygon(box(point(" + number(1000) + ", 0), point(" + r.below(1000) + ", 1))))"
	case "tsvector", "tsquery":
		return "to_" + k.short + "('simple', " + r.word() + ")"
	case "pg_lsn":
		return "'0/' || to_hex(" + number(1<<30) + ")"
	case "xml":
		return "'<a>' || " + number(1<<40) + " || '</a>'"
	case "hstore":
		return "'\"" + "number" + "\"=>' || " + number(1<<40)
	case "ltree":
		return r.word() + " || '.' || " + number(1<<40)
	}
	return ""
}

// checked reports whether a type is a domain that does not take every value; only the domain of a column is filled by its checks.
func (f *filler) checked(k *kind) bool {
	return k.class == "d" && (k.notNull || len(k.checks) > 0 || f.checked(f.types[k.base]))
}

// text is words, as far as there is room for them.
func text(k *kind, base string, r *random, distinct bool) string {
	limit := 1 << 20
	if k.short == "name" {
		limit = 63
	} else if strings.Contains(base, "(") {
		limit, _ = modifiers(base)
	} else if k.short == "bpchar" && base == "character" {
		limit = 1
	}
	switch {
	case distinct && limit < 24:
		var digits []string
		for i := min(limit, 8) - 1; i >= 0; i-- {
			power := int64(1)
			for range i {
				power *= 36
			}
			digits = append(digits, fmt.Sprintf("substr('0123456789abcdefghijklmnopqrstuvwxyz', (1 + (n / %d) %% 36)::int, 1)", power))
		}
		return strings.Join(digits, " || ")
	case distinct:
		return r.word() + " || '-' || n"
	}
	return fmt.Sprintf("left(%s || case when %s = 0 then '' else ' ' || %s end, %d)", r.word(), r.below(3), r.word(), limit)
}

// span is a range that begins at a value and is short, so that ranges seldom overlap.
func (f *filler) span(k *kind, r *random, distinct bool) string {
	sub := f.types[k.ranges]
	for sub.class == "d" {
		sub = f.types[sub.base]
	}
	var from, width string
	n := pick(distinct, "n", r.below(1_000_000))
	switch sub.short {
	case "int4", "int8", "numeric", "float8", "float4":
		from, width = n+" * 20", "1 + "+r.below(10)
	case "date":
		from, width = "date '2000-01-01' + ("+pick(distinct, n, r.below(10_000))+" * 20)::int", "(1 + "+r.below(10)+")::int"
	case "timestamp", "timestamptz":
		from, width = sub.short+" '2025-01-01 00:00:00+00' + "+pick(distinct, n, r.below(10_000))+" * interval '1 hour'", "(1 + "+r.below(60)+") * interval '1 minute'"
	default:
		a, b := f.value(sub, sub.name, r, distinct), f.value(sub, sub.name, r, distinct)
		if a == "" {
			return ""
		}
		a, b = "("+a+")::"+sub.name, "("+b+")::"+sub.name
		return call(k.name, "least("+a+", "+b+"), greatest("+a+", "+b+")")
	}
	return call(k.name, fmt.Sprintf("(%s)::%s, (%s + %s)::%s", from, sub.name, from, width, sub.name))
}

func call(function, arguments string) string {
	if arguments == "" {
		return ""
	}
	return function + "(" + arguments + ")"
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func or(a, b string) string { return pick(a != "", a, b) }

// modifiers reads a type's, as 10 and 2 of numeric(10,2).
func modifiers(base string) (first, second int) {
	if _, inside, found := strings.Cut(base, "("); found {
		if n, _ := fmt.Sscanf(inside, "%d,%d", &first, &second); n > 0 {
			return first, second
		}
	}
	return 12, 2 // a number with cents
}
