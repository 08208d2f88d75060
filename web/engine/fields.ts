/** Keys and values of maps, cut where their fields are (drawn in dataplane/maps/layout.ts). */
import { protocolName } from "../../dataplane/packet.ts";
import type { MapProgram } from "../../dataplane/program.ts";
import { hexOf } from "../../dataplane/trace.ts";
import type { FieldView } from "../messages.ts";

interface Field {
  readonly name: string;
  readonly bytes: number;
  /** Of the bytes; absent: the bytes say it themselves. */
  readonly meaning?: (view: DataView) => string;
}

const little32 = (view: DataView) => String(view.getUint32(0, true));
const big16 = (view: DataView) => String(view.getUint16(0, false));
const protocol = (view: DataView) => (view.getUint8(0) === 0 ? "any" : protocolName(view.getUint8(0)));
const family = (view: DataView) => (view.getUint8(0) === 1 ? "IPv4" : view.getUint8(0) === 2 ? "IPv6" : "");

const POLICY_KEY: readonly Field[] = [
  { name: "prefix length", bytes: 4, meaning: little32 },
  { name: "identity", bytes: 4, meaning: little32 },
  { name: "direction", bytes: 1, meaning: (view) => (view.getUint8(0) === 1 ? "egress" : "ingress") },
  { name: "protocol", bytes: 1, meaning: protocol },
  { name: "port", bytes: 2, meaning: big16 },
];

const POLICY_VALUE: readonly Field[] = [
  { name: "proxy port", bytes: 2, meaning: big16 },
  { name: "flags", bytes: 1, meaning: (view) => (view.getUint8(0) & 1 ? "deny" : `${view.getUint8(0) >> 3} bits`) },
  { name: "auth", bytes: 1 },
  { name: "precedence", bytes: 4, meaning: (view) => `0x${view.getUint32(0, true).toString(16)}` },
  { name: "cookie", bytes: 4 },
];

const IPCACHE_KEY: readonly Field[] = [
  { name: "prefix length", bytes: 4, meaning: little32 },
  { name: "cluster", bytes: 2 },
  { name: "pad", bytes: 1 },
  { name: "family", bytes: 1, meaning: family },
  { name: "address", bytes: 16 },
];

const IPCACHE_VALUE: readonly Field[] = [
  { name: "identity", bytes: 4, meaning: little32 },
  { name: "rest", bytes: 20 },
];

const TUPLE_KEY: readonly Field[] = [
  { name: "peer", bytes: 16 },
  { name: "family", bytes: 1, meaning: (view) => `IPv${view.getUint8(0)}` },
  { name: "protocol", bytes: 1, meaning: protocol },
  { name: "port", bytes: 2, meaning: big16 },
];

const BLOCK_KEY: readonly Field[] = [
  { name: "prefix length", bytes: 4, meaning: little32 },
  { name: "family", bytes: 1, meaning: (view) => `IPv${view.getUint8(0)}` },
  { name: "protocol", bytes: 1, meaning: protocol },
  { name: "port", bytes: 2, meaning: big16 },
  { name: "peer", bytes: 16 },
];

const TUPLE_VALUE: readonly Field[] = [
  { name: "verdict", bytes: 4, meaning: (view) => (view.getUint8(0) === 1 ? "accept" : "hole") },
];

/** Which part of which plan the map is decides how its bytes are read. */
export type MapRole = "ipcache" | "policy" | "exact" | "blocks";

const KEYS = { ipcache: IPCACHE_KEY, policy: POLICY_KEY, exact: TUPLE_KEY, blocks: BLOCK_KEY } as const;
const VALUES = { ipcache: IPCACHE_VALUE, policy: POLICY_VALUE, exact: TUPLE_VALUE, blocks: TUPLE_VALUE } as const;

/** What each map of a program is for. */
export function mapRoles(program: MapProgram): ReadonlyMap<string, MapRole> {
  return new Map(
    program.attachPoints.flatMap(({ plan }): readonly (readonly [string, MapRole])[] =>
      plan.kind === "identity"
        ? [
            [plan.ipcache, "ipcache"],
            [plan.policy, "policy"],
          ]
        : [
            [plan.exact, "exact"],
            [plan.blocks, "blocks"],
          ],
    ),
  );
}

export function keyFields(role: MapRole | undefined, bytes: Uint8Array): readonly FieldView[] {
  return cut(role === undefined ? [] : KEYS[role], bytes);
}

export function valueFields(role: MapRole | undefined, bytes: Uint8Array): readonly FieldView[] {
  return cut(role === undefined ? [] : VALUES[role], bytes);
}

/** What no layout names stands as it is. */
function cut(fields: readonly Field[], bytes: Uint8Array): readonly FieldView[] {
  const total = fields.reduce((sum, field) => sum + field.bytes, 0);
  if (total !== bytes.length) return [{ name: "bytes", hex: hexOf(bytes), meaning: "" }];
  let offset = 0;
  return fields.map(({ name, bytes: length, meaning }) => {
    const part = bytes.slice(offset, offset + length);
    offset += length;
    return { name, hex: hexOf(part), meaning: meaning?.(new DataView(part.buffer)) ?? "" };
  });
}
