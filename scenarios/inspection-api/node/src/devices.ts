import type { Transaction } from "./database.js";
import { Refusal } from "./errors.js";

/** The id of a device. */
export async function deviceId(tx: Transaction, equipmentSerial: string): Promise<number> {
  const device = await tx.device.findUnique({ where: { equipmentSerial }, select: { id: true } });
  if (!device) throw new Refusal(404, "unknown device");
  return device.id;
}
