const forms = ["production", "fixed", "idempotent"] as const;

/**
 * Which of its versions the service is: production is how it ran when the duplicates appeared; fixed finds what stands in the way and tells it as a
 * conflict; idempotent is fixed, and a request that comes again with its Idempotency-Key gets the first answer.
 */
export type Form = (typeof forms)[number];

export interface Config {
  form: Form;
  port: number;
  /** The most connections that are open at once. */
  pool: number;
  /** Append the request's traceparent to each statement. */
  mark: boolean;
  databaseUrl: string;
  /** What is wrong with the environment; empty: nothing. */
  wrong: string[];
}

export function readConfig(env: NodeJS.ProcessEnv): Config {
  const form = forms.find((known) => known === (env.FORM || "production"));
  const port = Number(env.PORT || 8080);
  const pool = Number(env.POOL || 5);
  const databaseUrl = env.DATABASE_URL ?? "";
  const wrong: string[] = [];
  if (!form) wrong.push(`unknown FORM "${env.FORM}"; try production, fixed or idempotent`);
  if (!Number.isInteger(port) || port < 1 || port > 65535) wrong.push(`PORT "${env.PORT}" is not a port; try 8080`);
  if (!Number.isInteger(pool) || pool < 1) wrong.push(`POOL "${env.POOL}" is not a number of connections; try 5`);
  if (!databaseUrl) wrong.push("there is no DATABASE_URL; try postgres://user@127.0.0.1:5432/database");
  return { form: form ?? "production", port, pool, mark: env.MARK === "1", databaseUrl, wrong };
}
