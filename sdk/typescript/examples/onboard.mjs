// Makes many tenants and shows how far it is: node onboard.mjs COUNT [PREFIX] [PER_SECOND] > keys.csv
//
// As fast as the server takes them, or PER_SECOND at most.
//
// BULKHEAD_URL and BULKHEAD_ADMIN_KEY say where and who. Run again after an interruption it leaves alone what is there: those
// tenants' keys were told once, to the first run.
import { once } from "node:events";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { AdminAPI, ConflictError } from "@bulkhead/admin";

const AT_ONCE = 8;
const BAR_WIDTH = 40;
const DRAW_EVERY_MS = 100;

const [count, prefix = "customer-", perSecond = Infinity] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4] ?? Infinity)];
if (!Number.isInteger(count) || count < 1 || !(perSecond > 0)) {
  console.error("usage: node onboard.mjs COUNT [PREFIX] [PER_SECOND] > keys.csv");
  process.exit(2);
}
const admin = new AdminAPI({ baseURL: process.env.BULKHEAD_URL, adminKey: process.env.BULKHEAD_ADMIN_KEY });

const progress = { made: 0, there: 0 };
const started = performance.now();

function draw() {
  const done = progress.made + progress.there;
  const seconds = (performance.now() - started) / 1000;
  const bar = "#".repeat(Math.floor((done / count) * BAR_WIDTH)).padEnd(BAR_WIDTH, ".");
  const there = progress.there > 0 ? `, ${progress.there} were there` : "";
  const line = `[${bar}] ${done}/${count} ${Math.floor((done / count) * 100)} % ${Math.round(done / seconds)}/s${there}`;
  process.stderr.write(process.stderr.isTTY ? `\r${line}` : `${line}\n`);
}

let next = 0;
async function worker() {
  while (next < count) {
    const number = ++next;
    const early = (number / perSecond) * 1000 - (performance.now() - started);
    if (early > 0) await sleep(early);
    const id = `${prefix}${String(number).padStart(6, "0")}`;
    try {
      const tenant = await admin.tenants.create({ id });
      progress.made += 1;
      if (!process.stdout.write(`${id},${tenant.apiKey}\n`)) await once(process.stdout, "drain");
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      progress.there += 1;
    }
  }
}

const drawing = setInterval(draw, process.stderr.isTTY ? DRAW_EVERY_MS : 10 * DRAW_EVERY_MS);
try {
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
} catch (error) {
  next = count;
  console.error(`\n${error.message}\nRun it again: what was made stays.`);
  process.exitCode = 1;
} finally {
  clearInterval(drawing);
  draw();
  process.stderr.write("\n");
}
