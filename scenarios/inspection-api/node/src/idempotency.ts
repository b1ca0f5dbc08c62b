import type { Transaction } from "./database.js";
import { Refusal } from "./errors.js";
import type { Reply } from "./http.js";

/** A request that may come more than once. */
interface Asked {
  by: string;
  key: string;
  /** Endpoint and input, so that a key which comes with another request is noticed. */
  request: string;
}

/**
 * Does work unless it has been done under this key before; then it returns what was answered. Key, answer and what the work wrote are committed
 * together, so there is never one without the other.
 *
 * While the first attempt is still running, the insert of its key waits for it. If that commits, its answer is there; if it rolls back, the key is
 * free, and this attempt does the work. So what was refused is not remembered: nothing came of it, and it may be tried again.
 */
export async function once(tx: Transaction, { by, key, request }: Asked, work: () => Promise<Reply>): Promise<Reply> {
  if (key.length > 255) throw new Refusal(400, "Idempotency-Key is longer than 255 characters");
  const inserted = await tx.idempotencyKey.createMany({ data: { caller: by, key, request }, skipDuplicates: true });
  const one = { where: { caller_key: { caller: by, key } } };
  if (inserted.count === 0) {
    const first = await tx.idempotencyKey.findUniqueOrThrow(one);
    if (first.request !== request) throw new Refusal(422, "this Idempotency-Key belongs to another request");
    return { status: first.status ?? 500, body: Object(first.answer) };
  }
  const reply = await work();
  await tx.idempotencyKey.update({ ...one, data: { status: reply.status, answer: { ...reply.body } } });
  return reply;
}
