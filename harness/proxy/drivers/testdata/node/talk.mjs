// Talks to Postgres through one driver, and prints a line of JSON for each case: node talk.mjs DRIVER URL.
// What is printed is the same each time, on a database with the tables of a fresh one.

import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { drivers } from "./drivers.mjs";

const [name, url] = process.argv.slice(2);

const say = (name, value) => console.log(JSON.stringify({ case: name, value }));

const fields = [
  "severity",
  "code",
  "message",
  "detail",
  "hint",
  "position",
  "where",
  "schema",
  "schema_name",
  "table",
  "table_name",
  "column",
  "dataType",
  "constraint",
  "constraint_name",
  "file",
  "line",
  "routine",
];

// facts is what a driver tells of an error: in itself, or in what it wraps.
function facts(error) {
  const seen = [];
  for (let e = error; e && !seen.includes(e); e = e.cause ?? e.original ?? e.driverError ?? e.parent) seen.push(e);
  const server = seen.findLast((e) => /^[0-9A-Z]{5}$/.test(e.code ?? "")) ?? seen.at(-1);
  const out = { kind: error.constructor.name };
  for (const f of fields) if (server[f] !== undefined) out[f] = server[f];
  if (error.meta) out.meta = error.meta;
  return out;
}

async function attempt(name, f) {
  try {
    say(name, (await f()) ?? null);
  } catch (error) {
    say(name, { error: facts(error) });
  }
}

const notices = [];
const d = await drivers[name]({ url, onnotice: (n) => notices.push(facts(n)), attempt, say });

await attempt("types", () =>
  d.run("select $1::int as i, $2::text as t, $3::float8 as f, $4::boolean as b, $5::timestamptz as at, $6::text::jsonb as j, $7::text as n", [
    42,
    "é ✓",
    1.5,
    true,
    new Date(0),
    '{"a":[1,null]}',
    null,
  ]),
);
await attempt("no parameters", () => d.run("select 1 as one, 'x'::text as x, null::int as nothing", []));
await attempt("insert", () =>
  d.run("insert into item (name, n, data) values ($1, $2::text::numeric, $3) returning id, name, n, data", [
    "first",
    "12.50",
    Buffer.from([0, 1, 255]),
  ]),
);
await attempt("duplicate", () => d.run("insert into item (name) values ($1)", ["first"]));
await attempt("update", () => d.run("update item set n = n + 1 where name = $1 returning n", ["first"]));
await attempt("mistake", () => d.run("select nothing from item", []));
await attempt("division", () => d.run("select 1 / $1::int as q", [0]));
await attempt("notice", () => d.run("select noisy($1::int) as noisy", [2]));
for (let i = 0; i < 2; i++) await attempt("again", () => d.run("select count(*)::int as n from item where id > $1::int", [i]));
await attempt("long", async () => (await d.run("select repeat('x', $1::int) as x from generate_series(1, 100)", [5000])).length);
await attempt("large", async () => (await d.run("select length($1::text) as n", ["x".repeat(2 << 20)]))[0].n);
await attempt("timestamps", () =>
  d.run("insert into item (name, at, tags) values ($1, $2::timestamptz, array['a', 'b']) returning at, tags", [
    "at",
    new Date(Date.UTC(2026, 0, 5, 10)),
  ]),
);

await attempt("commit", () =>
  d.begin(async (run) => {
    await run("insert into item (name) values ($1)", ["committed"]);
    return run("select name from item order by id", []);
  }),
);
await attempt("rollback", () =>
  d.begin(async (run) => {
    await run("insert into item (name) values ($1)", ["rolled back"]);
    throw new Error("on purpose");
  }),
);
await attempt("failed", () =>
  d.begin(async (run) => {
    await run("insert into item (name) values ($1)", ["never"]);
    await run("select 1 / $1::int as q", [0]).catch(() => {});
    return run("select 1 as one", []);
  }),
);
await attempt("savepoint", () =>
  d.begin(async (run) => {
    await run("savepoint s", []);
    await run("insert into item (name) values ($1)", ["first"]).catch((e) => say("within", facts(e)));
    await run("rollback to savepoint s", []);
    return run("insert into item (name) values ($1) returning name", ["behind a savepoint"]);
  }),
);
await attempt("serializable", () => d.begin(async (run) => run("select current_setting('transaction_isolation') as level", []), "serializable"));
await attempt("deferred", () => d.begin(async (run) => run("insert into late values (1), (1)", [])));
await attempt("timeout", () =>
  d.begin(async (run) => {
    await run("set local statement_timeout = 50", []);
    return run("select 1 as one from pg_sleep(1000)", []);
  }),
);
await attempt("parallel", async () =>
  (await Promise.all(Array.from({ length: 12 }, (_, i) => d.run("insert into item (name) values ($1) returning name", ["parallel " + i])))).map(
    (rows) => rows[0].name,
  ),
);
await attempt("parallel transactions", async () => {
  await Promise.all(
    Array.from({ length: 6 }, (_, i) =>
      d
        .begin(async (run) => {
          await run("insert into item (name) values ($1)", ["transaction " + i]);
          if (i % 2) throw new Error("on purpose");
        })
        .catch(() => {}),
    ),
  );
  return d.run("select name from item where name like 'transaction%' order by name", []);
});
if (d.more) await d.more({ Readable, pipeline });
await attempt("all", () => d.run("select count(*)::int as n, sum(n)::text as sum from item", []));
await d.close();
say("notices", notices.map((n) => JSON.stringify(n)).sort().map((n) => JSON.parse(n)));
