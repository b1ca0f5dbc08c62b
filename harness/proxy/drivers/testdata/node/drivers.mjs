// Each driver in the same clothes: run(sql, parameters) returns rows, begin(f, level) is a transaction, more() is what only it can do.

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

// pool is a pool of node-postgres, whose notices are told.
async function pool(url, onnotice) {
  const { default: pg } = await import("pg");
  const p = new pg.Pool({ connectionString: url, max: 4 });
  p.on("connect", (client) => client.on("notice", onnotice));
  p.on("error", () => {});
  return p;
}

// transaction is one by hand on a client that is taken from a pool and given back.
async function transaction(client, run, f, level) {
  await client.query(level ? "begin isolation level " + level : "begin");
  try {
    const out = await f(run);
    await client.query("commit");
    return out;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

export const drivers = {
  async pg({ url, onnotice, attempt }) {
    const p = await pool(url, onnotice);
    return {
      run: async (sql, parameters) => (await p.query(sql, parameters)).rows,
      async begin(f, level) {
        const client = await p.connect();
        try {
          return await transaction(client, async (sql, parameters) => (await client.query(sql, parameters)).rows, f, level);
        } finally {
          client.release();
        }
      },
      async more({ Readable, pipeline }) {
        const { from, to } = await import("pg-copy-streams");
        const { default: QueryStream } = await import("pg-query-stream");
        const client = await p.connect();
        for (let i = 0; i < 2; i++)
          await attempt("named", async () => (await client.query({ name: "named", text: "select name from item where id = $1", values: [1] })).rows);
        await attempt("several", async () => (await client.query("select 1 as a; select 2 as b")).map((r) => r.rows));
        await attempt("arrays", async () => (await client.query({ text: "select 1, 2", rowMode: "array" })).rows);
        await attempt("copy in", () => pipeline(Readable.from(["copied 1\n", "copied 2\n"]), client.query(from("copy item (name) from stdin"))));
        await attempt("copy in fails", () => pipeline(Readable.from(["copied 1\n"]), client.query(from("copy item (name) from stdin"))));
        await attempt("copy out", async () => {
          let text = "";
          for await (const chunk of client.query(to("copy (select name from item where name like 'copied%' order by 1) to stdout"))) text += chunk;
          return text;
        });
        await attempt("cursor", async () => {
          let n = 0;
          for await (const row of client.query(new QueryStream("select i from generate_series(1, 1000) i", [], { batchSize: 100 }))) n += row.i;
          return n;
        });
        await attempt("notification", async () => {
          const heard = new Promise((resolve) => client.once("notification", (n) => resolve([n.channel, n.payload])));
          await client.query("listen news");
          await p.query("select pg_notify('news', $1)", ["hello"]);
          return heard;
        });
        await attempt("terminated", async () => {
          const ended = new Promise((resolve) => client.on("error", (e) => resolve(e.code ?? e.message)));
          const { rows } = await client.query("select pg_backend_pid() as pid");
          await p.query("select pg_terminate_backend($1)", [rows[0].pid]);
          return ended;
        });
        client.release(true);
      },
      close: () => p.end(),
    };
  },

  async postgres({ url, onnotice, attempt }) {
    const { default: postgres } = await import("postgres");
    const sql = postgres(url, { max: 4, onnotice });
    const on = (sql) => async (text, parameters) => [...(await sql.unsafe(text, parameters, { prepare: true }))];
    return {
      run: on(sql),
      begin: (f, level) => (level ? sql.begin("isolation level " + level, (tx) => f(on(tx))) : sql.begin((tx) => f(on(tx)))),
      async more({ Readable, pipeline }) {
        await attempt("tagged", () => sql`select ${"first"}::text as name, ${[1, 2]}::int[] as list`);
        await attempt("nested", () =>
          sql.begin(async (tx) => {
            await tx`insert into item (name) values ('outer')`;
            await tx.savepoint((s) => s`insert into item (name) values ('outer')`).catch(() => {});
            return tx`select count(*)::int as n from item where name = 'outer'`;
          }),
        );
        await attempt("simple", () => sql`select 1 as a; select 2 as b`.simple());
        await attempt("describe", () => sql`select name, n from item where id = ${1}`.describe().then((s) => s.columns.map((c) => c.name)));
        await attempt("pipelined", async () =>
          (await sql.begin((tx) => [tx`select 1 as a`, tx`select 2 as b`, tx`select 3 as c`])).map((r) => [...r]),
        );
        await attempt("cursor", async () => {
          let n = 0;
          for await (const rows of sql`select i from generate_series(1, 1000) i`.cursor(100)) for (const row of rows) n += row.i;
          return n;
        });
        await attempt("copy in", async () =>
          pipeline(Readable.from(["copied 1\n", "copied 2\n"]), await sql`copy item (name) from stdin`.writable()),
        );
        await attempt("copy out", async () => {
          let text = "";
          for await (const chunk of await sql`copy (select name from item where name like 'copied%' order by 1) to stdout`.readable()) text += chunk;
          return text;
        });
        await attempt(
          "notification",
          () =>
            new Promise((resolve, reject) => {
              sql.listen("news", resolve, () => sql.notify("news", "hello").catch(reject)).catch(reject);
            }),
        );
        await attempt("cancel", async () => {
          const sleeping = sql`select 1 as one from pg_sleep(1000)`.execute();
          for (let n = 0; n === 0; )
            [{ n }] = await sql`select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`;
          sleeping.cancel();
          return sleeping;
        });
      },
      close: () => sql.end(),
    };
  },

  async prisma({ url, onnotice, attempt }) {
    const { PrismaPg } = await import("@prisma/adapter-pg");
    const { PrismaClient } = require("./generated/index.js");
    const p = await pool(url, onnotice);
    const prisma = new PrismaClient({ adapter: new PrismaPg(p), errorFormat: "minimal" });
    const on = (client) => (sql, parameters) =>
      /^(select|insert.*returning|update.*returning)/.test(sql)
        ? client.$queryRawUnsafe(sql, ...parameters)
        : client.$executeRawUnsafe(sql, ...parameters);
    const levels = { serializable: "Serializable" };
    return {
      run: on(prisma),
      begin: (f, level) => prisma.$transaction((tx) => f(on(tx)), { maxWait: 60000, timeout: 60000, isolationLevel: levels[level] }),
      async more() {
        await attempt("create", () => prisma.item.create({ data: { name: "model", n: "1.5", doc: { a: 1 }, tags: ["x"], at: new Date(0) } }));
        await attempt("create again", () => prisma.item.create({ data: { name: "model" } }));
        await attempt("find", () => prisma.item.findFirst({ where: { name: { startsWith: "mod" } }, select: { name: true, doc: true, tags: true } }));
        await attempt("update many", () => prisma.item.updateMany({ where: { name: "model" }, data: { n: { increment: 1 } } }));
        await attempt("update none", () => prisma.item.update({ where: { id: -1 }, data: { n: 1 } }));
        await attempt("upsert", () =>
          prisma.item.upsert({ where: { name: "model" }, create: { name: "model" }, update: { n: 7 }, select: { n: true } }),
        );
        await attempt("batch", () =>
          prisma.$transaction([
            prisma.item.create({ data: { name: "batch 1" }, select: { name: true } }),
            prisma.item.create({ data: { name: "batch 2" }, select: { name: true } }),
          ]),
        );
        await attempt("create many", () => prisma.item.createMany({ data: [{ name: "many 1" }, { name: "batch 1" }], skipDuplicates: true }));
        await attempt("delete", () => prisma.item.deleteMany({ where: { name: { startsWith: "many" } } }));
      },
      async close() {
        await prisma.$disconnect();
        await p.end();
      },
    };
  },

  async knex({ url, onnotice, attempt }) {
    const { default: Knex } = await import("knex");
    const knex = Knex({
      client: "pg",
      connection: url,
      acquireConnectionTimeout: 60000,
      pool: {
        min: 0,
        max: 4,
        afterCreate(client, done) {
          client.on("notice", onnotice);
          done(null, client);
        },
      },
    });
    const on = (knex) => async (sql, parameters) => (await knex.raw(sql.replace(/\$\d+/g, "?"), parameters)).rows;
    return {
      run: on(knex),
      begin: (f, isolationLevel) => knex.transaction((tx) => f(on(tx)), isolationLevel ? { isolationLevel } : {}),
      async more() {
        await attempt("builder", () => knex("item").insert({ name: "built", n: 1 }).returning(["name", "n"]));
        await attempt("merge", () => knex("item").insert({ name: "built", n: 2 }).onConflict("name").merge().returning(["name", "n"]));
        await attempt("nested", () =>
          knex.transaction(async (tx) => {
            await tx("item").insert({ name: "outer" });
            await tx
              .transaction(async (inner) => {
                await inner("item").insert({ name: "outer" });
              })
              .catch(() => {});
            return tx("item").where({ name: "outer" }).count();
          }),
        );
        await attempt("for update", () => knex.transaction((tx) => tx("item").where({ name: "built" }).forUpdate().select("name")));
      },
      close: () => knex.destroy(),
    };
  },

  async sequelize({ url, onnotice, attempt }) {
    const { Sequelize, DataTypes, Transaction } = require("sequelize");
    const options = { clientMinMessages: "notice" }; // it would hear of warnings only
    const sequelize = new Sequelize(url, { logging: false, pool: { max: 4, acquire: 60000 }, dialectOptions: options });
    sequelize.addHook("afterConnect", (client) => void client.on("notice", onnotice));
    const on = (transaction) => async (sql, bind) => (await sequelize.query(sql, { bind, transaction }))[0];
    const levels = { serializable: Transaction.ISOLATION_LEVELS.SERIALIZABLE };
    const Item = sequelize.define(
      "item",
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        name: { type: DataTypes.TEXT, unique: true },
        n: DataTypes.DECIMAL,
      },
      { tableName: "item", timestamps: false },
    );
    return {
      run: on(undefined),
      begin: (f, level) => sequelize.transaction(level ? { isolationLevel: levels[level] } : {}, (t) => f(on(t))),
      async more() {
        await attempt("create", async () => (await Item.create({ name: "model", n: "1.5" })).get({ plain: true }).name);
        await attempt("create again", () => Item.create({ name: "model" }));
        await attempt("find or create", async () => (await Item.findOrCreate({ where: { name: "model" } }))[1]);
        await attempt("update", () => Item.update({ n: 3 }, { where: { name: "model" } }));
        await attempt("upsert", async () => (await Item.upsert({ name: "model", n: 4 }))[0].n);
        await attempt("locked", () => sequelize.transaction((transaction) => Item.count({ where: { name: "model" }, transaction, lock: true })));
      },
      close: () => sequelize.close(),
    };
  },

  async drizzle({ url, onnotice, attempt }) {
    const { drizzle } = await import("drizzle-orm/node-postgres");
    const { eq, sql } = await import("drizzle-orm");
    const { pgTable, integer, text, numeric } = await import("drizzle-orm/pg-core");
    const p = await pool(url, onnotice);
    const db = drizzle(p);
    const item = pgTable("item", { id: integer().primaryKey().generatedAlwaysAsIdentity(), name: text(), n: numeric() });
    const on = (db) => async (query, parameters) => {
      const parts = query.split(/\$\d+/).flatMap((part, i) => (i ? [sql.param(parameters[i - 1]), sql.raw(part)] : [sql.raw(part)]));
      return (await db.execute(sql.join(parts))).rows;
    };
    return {
      run: on(db),
      begin: (f, isolationLevel) => db.transaction((tx) => f(on(tx)), isolationLevel ? { isolationLevel } : undefined),
      async more() {
        await attempt("insert returning", () => db.insert(item).values({ name: "model", n: "1.5" }).returning({ name: item.name, n: item.n }));
        await attempt("insert again", () => db.insert(item).values({ name: "model" }));
        await attempt("on conflict", () =>
          db
            .insert(item)
            .values({ name: "model" })
            .onConflictDoUpdate({ target: item.name, set: { n: "2" } })
            .returning({ n: item.n }),
        );
        await attempt("prepared", async () => {
          const named = db
            .select({ name: item.name })
            .from(item)
            .where(eq(item.name, sql.placeholder("name")))
            .prepare("by_name");
          return [await named.execute({ name: "model" }), await named.execute({ name: "model" })];
        });
        await attempt("nested", () =>
          db.transaction(async (tx) => {
            await tx.insert(item).values({ name: "outer" });
            await tx.transaction((inner) => inner.insert(item).values({ name: "outer" })).catch(() => {});
            return tx.$count(item, eq(item.name, "outer"));
          }),
        );
      },
      close: () => p.end(),
    };
  },

  async typeorm({ url, onnotice, attempt }) {
    await import("reflect-metadata");
    const { DataSource, EntitySchema } = require("typeorm");
    const Item = new EntitySchema({
      name: "item",
      tableName: "item",
      columns: {
        id: { type: Number, primary: true, generated: "identity", generatedIdentity: "ALWAYS" },
        name: { type: "text", nullable: true },
        n: { type: "numeric", nullable: true },
      },
    });
    const { default: pg } = await import("pg");
    class Client extends pg.Client {
      constructor(...options) {
        super(...options);
        this.on("notice", onnotice);
      }
    }
    const source = await new DataSource({ type: "postgres", url, entities: [Item], poolSize: 4, extra: { Client } }).initialize();
    const on = (manager) => async (sql, parameters) => {
      const out = await manager.query(sql, parameters);
      return /^update/.test(sql) ? out[0] : out;
    };
    return {
      run: on(source),
      begin: (f, level) => (level ? source.transaction(level.toUpperCase(), (m) => f(on(m))) : source.transaction((m) => f(on(m)))),
      async more() {
        const items = source.getRepository("item");
        await attempt("save", async () => (await items.save({ name: "model", n: "1.5" })).name);
        await attempt("insert again", () => items.insert({ name: "model" }));
        await attempt("find", async () => (await items.findOneBy({ name: "model" })).n);
        await attempt("upsert", async () => (await items.upsert({ name: "model", n: "2" }, ["name"])).raw.length);
        await attempt("locked", () =>
          source.transaction(async (m) => (await m.findOne("item", { where: { name: "model" }, lock: { mode: "pessimistic_write" } })).name),
        );
      },
      close: () => source.destroy(),
    };
  },
};
