/**
 * A conversation as a file of JSON lines. First how it is held, then a packet each:
 *
 *     {"held":"table","settings":"defaults"}
 *     {"packet":{"protocol":"tcp","source":"10.0.0.1",…},"windowScale":7,"zone":1,"dropped":true}
 *
 * `packet` is what `trace --packets` reads; absent: no scale, zone 0, passed.
 */
import type { Issue } from "../../compiler/issue.ts";
import { parseAddress } from "../../dataplane/address.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { isProblem, packetFromObject, packetOf, type Resolve } from "../../traffic/transcript.ts";
import { stepIssue } from "../scenarioCluster.ts";
import { CONNTRACK_SETTINGS, type ConntrackSetting } from "./connections.ts";
import type { ConnectionStep } from "./conversations.ts";

export interface ConnectionCase {
  /** By the table alone, or by a node in front of it. */
  readonly held: "table" | "node";
  readonly setting: ConntrackSetting;
  readonly steps: readonly ConnectionStep[];
}

export function connectionText({ held, setting, steps }: ConnectionCase): string {
  const lines = steps.map(({ packet, zone, isDropped }) => ({
    packet: packetToObject(packet),
    ...(packet.windowScale !== undefined && { windowScale: packet.windowScale }),
    ...(zone !== 0 && { zone }),
    ...(isDropped && { dropped: true }),
  }));
  return [{ held, settings: setting.name }, ...lines].map((line) => `${JSON.stringify(line)}\n`).join("");
}

const MOST_ZONE = 65_535;
const MOST_SCALE = 255;

/** The case, or what is wrong with the file. */
export function readConnection(name: string, text: string): ConnectionCase | Issue {
  const lines = text.split("\n");
  const wrong = (line: number, message: string) => stepIssue({ line, column: 1 }, name, message);
  const head = objectIn(lines[0] ?? "");
  const held = head?.held;
  const setting = CONNTRACK_SETTINGS.find((one) => one.name === head?.settings);
  if (held !== "table" && held !== "node") return wrong(1, `"held" is ${shown(held)}; allowed are table, node`);
  if (setting === undefined) {
    const names = CONNTRACK_SETTINGS.map((one) => one.name).join("; ");
    return wrong(1, `"settings" is ${shown(head?.settings)}; allowed are ${names}`);
  }
  const steps: ConnectionStep[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line === "") continue;
    const fields = objectIn(line);
    if (fields === undefined) return wrong(index + 1, `no JSON object: ${line.slice(0, 60)}`);
    const read = packetFromObject(fields.packet);
    const packet = isProblem(read) ? read : packetOf(read, addressNamed);
    if (isProblem(packet)) return wrong(index + 1, packet.problem);
    const { zone = 0, dropped = false, windowScale } = fields;
    if (!isUpTo(zone, MOST_ZONE)) return wrong(index + 1, `"zone" is ${shown(zone)}; allowed are 0–${MOST_ZONE}`);
    if (typeof dropped !== "boolean")
      return wrong(index + 1, `"dropped" is ${shown(dropped)}; allowed are true, false`);
    if (windowScale === undefined) steps.push({ packet, zone, isDropped: dropped });
    else if (isUpTo(windowScale, MOST_SCALE))
      steps.push({ packet: { ...packet, windowScale }, zone, isDropped: dropped });
    else return wrong(index + 1, `"windowScale" is ${shown(windowScale)}; allowed are 0–${MOST_SCALE}`);
  }
  return { held, setting, steps };
}

function objectIn(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined; // fields are checked one by one
  } catch {
    return undefined;
  }
}

function isUpTo(value: unknown, most: number): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most;
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : (JSON.stringify(value) ?? "").slice(0, 60);
}

const addressNamed: Resolve = (text) =>
  parseAddress(text) ?? { problem: `"${text}" is no address; only addresses here` };
