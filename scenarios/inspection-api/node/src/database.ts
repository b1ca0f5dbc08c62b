import { AsyncLocalStorage } from "node:async_hooks";
import { PrismaPg } from "@prisma/adapter-pg";
import type { Config } from "./config.js";
import { inTheWay } from "./errors.js";
import { type Prisma, PrismaClient } from "./generated/client.js";

export type Transaction = Prisma.TransactionClient;

/**
 * How often work is tried whose row a constraint has refused. What was in the way is there to be seen the second time, unless it has gone again.
 */
const attempts = 3;

const traceparent = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The pool, and transactions on it. */
export class Database {
  private readonly prisma: PrismaClient;
  private readonly parent = new AsyncLocalStorage<string>();
  private answered = false;

  constructor(private readonly config: Config) {
    const adapter = new PrismaPg({
      connectionString: config.databaseUrl,
      max: config.pool,
      application_name: "inspection-api",
      options: "-c TimeZone=UTC", // Prisma sends times in UTC and does not say so: Postgres takes them for the session's
    });
    // A comment in the way of sqlcommenter says which request a statement belongs to.
    const mark = () => ({ traceparent: this.parent.getStore() });
    this.prisma = new PrismaClient({ adapter, comments: config.mark ? [mark] : [], transactionOptions: { maxWait: 5_000, timeout: 10_000 } });
  }

  /** Asks the database until it has answered once, so that whoever asks all the time does not keep a connection busy. */
  async ready(): Promise<void> {
    if (this.answered) return;
    await this.prisma.$queryRaw`select 1`;
    this.answered = true;
  }

  /** Marks the statements of work with a traceparent. It becomes part of SQL, so nothing else is let through. */
  marked<T>(parent: string | undefined, work: () => Promise<T>): Promise<T> {
    return parent && traceparent.test(parent) ? this.parent.run(parent, work) : work();
  }

  /** Does work in one transaction at READ COMMITTED, which is rolled back if it throws. */
  async transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.prisma.$transaction(work);
      } catch (error) {
        if (this.config.form === "production" || !inTheWay(error) || attempt === attempts) throw error;
      }
    }
  }

  close(): Promise<void> {
    return this.prisma.$disconnect();
  }
}
