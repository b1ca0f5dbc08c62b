import type { Form } from "./config.js";
import type { Transaction } from "./database.js";
import { deviceId } from "./devices.js";
import { Refusal } from "./errors.js";
import { type Prisma, ScheduleStatus } from "./generated/client.js";
import type { Reply } from "./http.js";

interface NewSchedule {
  equipmentSerial: string;
  at: Date;
  /** Who plans it; empty: nobody. */
  by: string;
}

/** How far apart two visits to a device have to be, in milliseconds. */
const window = 30 * 60 * 1000;

/** The first half of the advisory lock on the schedules of a device; the second is the device's id. */
const schedulesOfDevice = 1;

/** Plans a visit, unless there is one within half an hour of it. */
export async function createSchedule(tx: Transaction, form: Form, { equipmentSerial, at, by }: NewSchedule): Promise<Reply> {
  const device = await deviceId(tx, equipmentSerial);
  if (form !== "production") {
    // Until the end of the transaction. The search below is a statement of its own, which sees what was committed while this one waited.
    await tx.$executeRaw`select pg_advisory_xact_lock(${schedulesOfDevice}::int, ${device}::int)`;
  }
  const inTheWay = form === "production" ? anyVisit(at) : visitInTheWay(at);
  const found = await tx.schedule.findFirst({ where: { deviceId: device, ...inTheWay }, select: { id: true } });
  if (found) throw new Refusal(409, "there is a visit within 30 minutes");
  const { id, status } = await tx.schedule.create({
    data: { deviceId: device, equipmentSerial, scheduledFor: at, createdBy: by || null },
    select: { id: true, status: true },
  });
  return { status: 201, body: { id, status, equipmentSerial, scheduledFor: at } };
}

/**
 * Production's search. Its window is not symmetric: a visit half an hour earlier is in the way, one half an hour later is not. And it finds visits
 * that were cancelled.
 */
function anyVisit(at: Date): Prisma.ScheduleWhereInput {
  return { scheduledFor: { gte: new Date(at.getTime() - window), lt: new Date(at.getTime() + window) } };
}

/** Finds visits that are less than half an hour away, in both directions, and are to take place. */
function visitInTheWay(at: Date): Prisma.ScheduleWhereInput {
  return {
    scheduledFor: { gt: new Date(at.getTime() - window), lt: new Date(at.getTime() + window) },
    status: { not: ScheduleStatus.cancelled },
  };
}
