import type { Form } from "./config.js";
import type { Transaction } from "./database.js";
import { deviceId } from "./devices.js";
import { Refusal } from "./errors.js";
import { SessionStatus } from "./generated/client.js";
import type { Reply } from "./http.js";

interface NewSession {
  equipmentSerial: string;
  by: string;
}

const open = { in: [SessionStatus.active, SessionStatus.paused] };

/**
 * Opens a session on a device, or resumes the caller's own. Between the look and the insert there is room for others. The unique index on open
 * sessions makes that harmless; without it, both of two callers open one.
 */
export async function createSession(tx: Transaction, form: Form, wanted: NewSession): Promise<Reply> {
  const { equipmentSerial, by } = wanted;
  await deviceId(tx, equipmentSerial);
  const found = await tx.session.findFirst({
    where: { equipmentSerial, status: open },
    orderBy: [{ startedAt: "asc" }, { id: "asc" }],
    select: { id: true, inspectorId: true },
  });
  if (!found) return insertSession(tx, wanted);
  if (found.inspectorId !== by) throw new Refusal(409, "another inspector has an open session on the device");
  return resumeSession(tx, form, found.id, wanted);
}

async function insertSession(tx: Transaction, { equipmentSerial, by }: NewSession): Promise<Reply> {
  const { id, status } = await tx.session.create({ data: { equipmentSerial, inspectorId: by }, select: { id: true, status: true } });
  return { status: 201, body: { id, status, equipmentSerial } };
}

/**
 * Sets the session active. Production updates it by id alone, and brings back to life what was closed after the look; the others update it only if
 * it is still open, and otherwise open a new one.
 */
async function resumeSession(tx: Transaction, form: Form, id: string, wanted: NewSession): Promise<Reply> {
  const now = new Date();
  const resumed = await tx.session.updateMany({
    where: form === "production" ? { id } : { id, status: open },
    data: { status: SessionStatus.active, resumedAt: now, lastAccessedAt: now, updatedAt: now },
  });
  if (resumed.count === 0) return insertSession(tx, wanted);
  return { status: 200, body: { id, status: SessionStatus.active, equipmentSerial: wanted.equipmentSerial } };
}
