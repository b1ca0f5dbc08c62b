package schema

import "strings"

// query finds the objects of one kind. See its method read for the columns.
type query struct {
	kind Kind
	sql  string
}

// The queries share some shorthand:
//
//	OWN(n)           a schema of the user's
//	MEMBER(class, x) x belongs to an extension
//	ACL(x, k, owner) privileges x of an object of kind k, with the default made explicit: GRANT and REVOKE leave what was there before
//	YES(x)           'true', or NULL
//	COLUMNS(view)    the columns of a view, with what can be set on them
//
// What only newer servers have is read through to_jsonb, which has NULL for a column that is not there.
func shorthand(sql string) string {
	for _, s := range []struct {
		name, text string
		arguments  int
	}{
		{"OWN", `($1.nspname !~ '^pg_' and $1.nspname <> 'information_schema')`, 1},
		{"MEMBER", `exists (select from pg_depend e where e.classid = '$1'::regclass and e.objid = $2 and e.deptype = 'e')`, 2},
		{"ACL", `(select string_agg(a::text, ' ' order by a::text) from unnest(coalesce($1, acldefault('$2', $3))) a)`, 3},
		{"YES", `case when $1 then 'true' end`, 1},
		{"COLUMNS", `(select string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid),
			a.attacl, quote_literal(col_description(a.attrelid, a.attnum))), ', ' order by a.attnum)
			from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
			where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped)`, 1},
	} {
		for {
			before, rest, found := strings.Cut(sql, s.name+"(")
			if !found {
				break
			}
			inside, after, _ := strings.Cut(rest, ")")
			text := s.text
			for i, a := range strings.SplitN(inside, ",", s.arguments) {
				text = strings.ReplaceAll(text, "$"+string(rune('1'+i)), strings.TrimSpace(a))
			}
			sql = before + text + after
		}
	}
	return sql
}

var catalog = []query{
	find(Namespace, `
		select quote_ident(n.nspname), '', 0, 0::bigint,
			pg_get_userbyid(n.nspowner) as owner, ACL(n.nspacl, n, n.nspowner) as privileges, obj_description(n.oid, 'pg_namespace') as comment
		from pg_namespace n where OWN(n) and not MEMBER(pg_namespace, n.oid)`),

	find(Extension, `
		select quote_ident(x.extname), '', 0, 0::bigint,
			x.extversion as version, n.nspname::text as schema, obj_description(x.oid, 'pg_extension') as comment
		from pg_extension x join pg_namespace n on n.oid = x.extnamespace`),

	find(Type, `
		select format('%I.%I', n.nspname, t.typname), '', 0, 0::bigint,
			case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'c' then 'composite' when 'r' then 'range' else 'base' end as kind,
			(select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_enum where enumtypid = t.oid) as labels,
			case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end as base,
			case when t.typtype = 'd' and t.typcollation <> b.typcollation then t.typcollation::regcollation::text end as collation,
			YES(t.typnotnull) as "not null", t.typdefault as default,
			(select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) ||
					case when a.attcollation <> y.typcollation then ' collate ' || a.attcollation::regcollation else '' end, ', ' order by a.attnum)
				from pg_attribute a join pg_type y on y.oid = a.atttypid
				where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) as attributes,
			(select concat_ws(', ', format_type(r.rngsubtype, null), nullif(r.rngcollation, 0)::regcollation, nullif(r.rngcanonical, 0)::regproc,
				nullif(r.rngsubdiff, 0)::regproc, (select opcname from pg_opclass where oid = r.rngsubopc),
				format_type((to_jsonb(r)->>'rngmultitypid')::oid, null)) from pg_range r where r.rngtypid = t.oid) as range,
			pg_get_userbyid(t.typowner) as owner, ACL(t.typacl, T, t.typowner) as privileges, obj_description(t.oid, 'pg_type') as comment
		from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
		left join pg_type b on b.oid = t.typbasetype
		where OWN(n) and not MEMBER(pg_type, t.oid) and t.typtype in ('b', 'c', 'd', 'e', 'r') and (c.oid is null or c.relkind = 'c')
			and not exists (select from pg_type e where e.typarray = t.oid)`),

	find(Sequence, `
		select format('%I.%I', n.nspname, c.relname), '', 0, 0::bigint,
			format_type(s.seqtypid, null) as type, s.seqstart::text as start, s.seqincrement::text as increment, s.seqmin::text as minimum,
			s.seqmax::text as maximum, s.seqcache::text as cache, YES(s.seqcycle) as cycle, YES(c.relpersistence = 'u') as unlogged,
			(select format('%I.%I.%I', m.nspname, t.relname, a.attname) from pg_depend d join pg_class t on t.oid = d.refobjid
				join pg_namespace m on m.oid = t.relnamespace join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
				where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i'))
				as "owned by",
			pg_get_userbyid(c.relowner) as owner, ACL(c.relacl, s, c.relowner) as privileges, obj_description(c.oid, 'pg_class') as comment
		from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
		where OWN(n) and not MEMBER(pg_class, c.oid) and c.relpersistence <> 't'`),

	find(Table, `
		select format('%I.%I', n.nspname, c.relname), '', 0, coalesce(pg_relation_filenode(c.oid)::bigint, 0),
			case c.relkind when 'p' then 'partitioned' when 'f' then 'foreign' end as kind, YES(c.relpersistence = 'u') as unlogged,
			case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end as "partitioned by",
			(select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno) from pg_inherits i where i.inhrelid = c.oid) as parent,
			pg_get_expr(c.relpartbound, c.oid) as bound,
			(select string_agg(o, ', ' order by o) from unnest(c.reloptions) o) as options,
			(select string_agg(o, ', ' order by o) from pg_class t, unnest(t.reloptions) o where t.oid = c.reltoastrelid) as "toast options",
			(select amname::text from pg_am where oid = c.relam and amname <> 'heap') as "access method",
			(select spcname::text from pg_tablespace where oid = c.reltablespace) as tablespace,
			nullif(c.reloftype, 0)::regtype::text as of,
			YES(c.relrowsecurity) as "row security", YES(c.relforcerowsecurity) as "row security forced",
			case c.relreplident when 'n' then 'nothing' when 'f' then 'full' when 'i' then 'index' end as "replica identity",
			pg_get_userbyid(c.relowner) as owner, ACL(c.relacl, r, c.relowner) as privileges, obj_description(c.oid, 'pg_class') as comment
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and OWN(n) and not MEMBER(pg_class, c.oid)`),

	// NOT NULL is a property of the column, though PostgreSQL 18 keeps it as a constraint, which may be NOT VALID there.
	find(Column, `
		select format('%I.%I.%I', n.nspname, c.relname, a.attname), format('%I.%I', n.nspname, c.relname), a.attnum::int, 0::bigint,
			format_type(a.atttypid, a.atttypmod) as type,
			case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end as collation,
			case when a.attnotnull then coalesce((select 'not valid' from pg_constraint k where k.conrelid = c.oid and k.contype = 'n'
				and k.conkey = array[a.attnum] and not k.convalidated), 'true') end as "not null",
			case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end as default,
			case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end as generated, YES(a.attgenerated = 'v') as virtual,
			case a.attidentity when 'a' then 'always' when 'd' then 'by default' end as identity,
			YES(a.attinhcount > 0) as inherited, YES(a.attinhcount > 0 and a.attislocal) as "local too",
			case when a.attstorage <> t.typstorage then case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end
				end as storage,
			case to_jsonb(a)->>'attcompression' when 'p' then 'pglz' when 'l' then 'lz4' end as compression,
			nullif(a.attstattarget, -1)::text as "statistics target",
			(select string_agg(o, ', ' order by o) from unnest(a.attoptions) o) as options,
			(select string_agg(x::text, ' ' order by x::text) from unnest(a.attacl) x) as privileges, col_description(c.oid, a.attnum) as comment
		from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
		join pg_type t on t.oid = a.atttypid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
		where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and OWN(n) and not MEMBER(pg_class, c.oid)`),

	find(Constraint, `
		select format('%I.%I.%I', coalesce(n.nspname, m.nspname), coalesce(c.relname, t.typname), k.conname),
			format('%I.%I', coalesce(n.nspname, m.nspname), coalesce(c.relname, t.typname)), 0, 0::bigint,
			case k.contype when 'c' then 'check' when 'f' then 'foreign key' when 'p' then 'primary key' when 'u' then 'unique' when 'x' then 'exclusion' end
				as kind,
			regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') as definition, YES(not k.convalidated) as "not valid",
			case when k.condeferred then 'initially deferred' when k.condeferrable then 'true' end as deferrable,
			YES(k.coninhcount > 0) as inherited, YES(k.coninhcount > 0 and k.conislocal) as "local too",
			(select string_agg(distinct case g.tgenabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end, ', ')
				from pg_trigger g where g.tgconstraint = k.oid and g.tgisinternal and g.tgenabled <> 'O') as triggers,
			obj_description(k.oid, 'pg_constraint') as comment
		from pg_constraint k
		left join pg_class c on c.oid = k.conrelid left join pg_namespace n on n.oid = c.relnamespace
		left join pg_type t on t.oid = k.contypid left join pg_namespace m on m.oid = t.typnamespace
		where k.contype in ('c', 'f', 'p', 'u', 'x') and (c.oid is null or c.relpersistence <> 't' and OWN(n) and not MEMBER(pg_class, c.oid))
			and (t.oid is null or OWN(m) and not MEMBER(pg_type, t.oid))`),

	find(Index, `
		select format('%I.%I', n.nspname, c.relname), format('%I.%I', m.nspname, t.relname), 0, coalesce(pg_relation_filenode(c.oid)::bigint, 0),
			pg_get_indexdef(c.oid) as definition, YES(i.indisunique) as unique,
			(select string_agg(quote_ident(k.conname), ', ') from pg_constraint k
				where k.conindid = c.oid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')) as "constraint",
			YES(not i.indisvalid) as invalid, YES(not i.indisready) as "not ready", YES(not i.indislive) as "being dropped",
			YES(not i.indimmediate) as deferrable, YES(i.indisclustered) as clustered, YES(i.indisreplident) as "replica identity",
			(select h.inhparent::regclass::text from pg_inherits h where h.inhrelid = c.oid) as parent,
			(select spcname::text from pg_tablespace where oid = c.reltablespace) as tablespace,
			(select string_agg(a.attnum || '=' || a.attstattarget, ', ' order by a.attnum) from pg_attribute a
				where a.attrelid = c.oid and a.attstattarget >= 0) as "statistics targets",
			obj_description(c.oid, 'pg_class') as comment
		from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		join pg_class t on t.oid = i.indrelid join pg_namespace m on m.oid = t.relnamespace
		where OWN(n) and c.relpersistence <> 't' and not MEMBER(pg_class, t.oid)`),

	find(View, `
		select format('%I.%I', n.nspname, c.relname), '', 0, 0::bigint, pg_get_viewdef(c.oid) as definition,
			(select string_agg(o, ', ' order by o) from unnest(c.reloptions) o) as options, COLUMNS(c.oid) as columns,
			pg_get_userbyid(c.relowner) as owner, ACL(c.relacl, r, c.relowner) as privileges, obj_description(c.oid, 'pg_class') as comment
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'v' and c.relpersistence <> 't' and OWN(n) and not MEMBER(pg_class, c.oid)`),

	find(MaterialisedView, `
		select format('%I.%I', n.nspname, c.relname), '', 0, coalesce(pg_relation_filenode(c.oid)::bigint, 0), pg_get_viewdef(c.oid) as definition,
			YES(not c.relispopulated) as "not populated", (select string_agg(o, ', ' order by o) from unnest(c.reloptions) o) as options,
			COLUMNS(c.oid) as columns,
			pg_get_userbyid(c.relowner) as owner, ACL(c.relacl, r, c.relowner) as privileges, obj_description(c.oid, 'pg_class') as comment
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'm' and OWN(n) and not MEMBER(pg_class, c.oid)`),

	find(Function, `
		select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), '', 0, 0::bigint,
			case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' when 'w' then 'window' end as kind,
			case when p.prokind <> 'a' then pg_get_functiondef(p.oid) else
				(select concat_ws(', ', 'returns ' || format_type(p.prorettype, null), g.aggtransfn, format_type(g.aggtranstype, null),
					nullif(g.aggfinalfn, 0), nullif(g.aggcombinefn, 0), nullif(g.aggsortop, 0)::regoperator, g.agginitval)
				from pg_aggregate g where g.aggfnoid = p.oid) end as definition,
			pg_get_userbyid(p.proowner) as owner, ACL(p.proacl, f, p.proowner) as privileges, obj_description(p.oid, 'pg_proc') as comment
		from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where OWN(n) and not MEMBER(pg_proc, p.oid)`),

	find(Trigger, `
		select format('%I.%I.%I', n.nspname, c.relname, g.tgname), format('%I.%I', n.nspname, c.relname), 0, 0::bigint,
			pg_get_triggerdef(g.oid) as definition,
			case g.tgenabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end as enabled,
			YES(g.tgparentid <> 0) as inherited, obj_description(g.oid, 'pg_trigger') as comment
		from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace
		where not g.tgisinternal and OWN(n) and not MEMBER(pg_class, c.oid) and c.relpersistence <> 't'`),

	find(EventTrigger, `
		select quote_ident(v.evtname), '', 0, 0::bigint, v.evtevent::text as event, v.evtfoid::regproc::text as function,
			array_to_string(v.evttags, ', ') as tags,
			case v.evtenabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end as enabled,
			pg_get_userbyid(v.evtowner) as owner, obj_description(v.oid, 'pg_event_trigger') as comment
		from pg_event_trigger v where not MEMBER(pg_event_trigger, v.oid)`),

	find(Rule, `
		select format('%I.%I.%I', n.nspname, c.relname, r.rulename), format('%I.%I', n.nspname, c.relname), 0, 0::bigint,
			pg_get_ruledef(r.oid) as definition,
			case r.ev_enabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' end as enabled,
			obj_description(r.oid, 'pg_rewrite') as comment
		from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
		where r.rulename <> '_RETURN' and OWN(n) and not MEMBER(pg_class, c.oid) and c.relpersistence <> 't'`),

	find(Policy, `
		select format('%I.%I.%I', n.nspname, c.relname, p.polname), format('%I.%I', n.nspname, c.relname), 0, 0::bigint,
			case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end as for,
			YES(not p.polpermissive) as restrictive,
			(select string_agg(case r when 0 then 'public' else quote_ident(pg_get_userbyid(r)) end, ', ' order by 1) from unnest(p.polroles) r) as to,
			pg_get_expr(p.polqual, c.oid) as using, pg_get_expr(p.polwithcheck, c.oid) as "with check", obj_description(p.oid, 'pg_policy') as comment
		from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
		where OWN(n) and not MEMBER(pg_class, c.oid)`),

	find(Statistics, `
		select format('%I.%I', n.nspname, s.stxname), format('%I.%I', m.nspname, c.relname), 0, 0::bigint,
			pg_get_statisticsobjdef(s.oid) as definition, nullif(s.stxstattarget, -1)::text as target,
			pg_get_userbyid(s.stxowner) as owner, obj_description(s.oid, 'pg_statistic_ext') as comment
		from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
		join pg_class c on c.oid = s.stxrelid join pg_namespace m on m.oid = c.relnamespace
		where OWN(n) and not MEMBER(pg_class, c.oid)`),

	find(Publication, `
		select quote_ident(p.pubname), '', 0, 0::bigint, YES(p.puballtables) as "all tables",
			concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end,
				case when p.pubtruncate then 'truncate' end) as publishes,
			YES(p.pubviaroot) as "via root", to_jsonb(p)->>'pubgencols' as "generated columns",
			(select string_agg(concat_ws(' ', format('%I.%I', t.schemaname, t.tablename),
					case when to_jsonb(r)->>'prattrs' is not null then to_jsonb(t)->>'attnames' end, to_jsonb(t)->>'rowfilter'), ', '
					order by t.schemaname, t.tablename)
				from pg_publication_tables t
				left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = format('%I.%I', t.schemaname, t.tablename)::regclass
				where t.pubname = p.pubname and not p.puballtables) as tables,
			pg_get_userbyid(p.pubowner) as owner, obj_description(p.oid, 'pg_publication') as comment
		from pg_publication p`),

	find(DefaultPrivileges, `
		select concat_ws(' ', 'of', quote_ident(pg_get_userbyid(d.defaclrole)), 'on',
				case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas'
					else 'large objects' end, 'in ' || quote_ident(n.nspname)), '', 0, 0::bigint,
			(select string_agg(a::text, ' ' order by a::text) from unnest(d.defaclacl) a) as privileges
		from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace`),
}

func find(kind Kind, sql string) query { return query{kind, shorthand(sql)} }
