/**
 * The look-up plans as programs for the kernel. Written from the layouts and the meaning of the plans (program.ts,
 * maps/layout.ts), not from maps/lookup.ts: the two are compared.
 */
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { AttachPoint } from "../../dataplane/program.ts";
import { Assembler } from "./assembler.ts";

/** What a run returns: XDP_DROP and XDP_PASS. */
export const POLICY_VERDICT = { drop: 1, pass: 2 } as const;

/** Bytes of an Ethernet header, which a test run wants before the packet. */
export const ETHERNET_BYTES = 14;

type Direction = AttachPoint["direction"];

/** Where things are in a frame without IP options or extension headers. `end`: the least that must be there. */
const IP = {
  4: { etherType: 0x0008, protocol: 23, source: 26, destination: 30, words: 1, layer4: 34, end: 38 },
  6: { etherType: 0xdd86, protocol: 20, source: 22, destination: 38, words: 4, layer4: 54, end: 58 },
} as const;

const MAP_LOOKUP = 1; // bpf_map_lookup_elem

const DATA = 6;
const DATA_END = 7;
const FOUND = 8;
const PROTO = 9;
const STACK = 10;

/** Places below the end of the stack; every word that a key has is written before it is read. */
const TRIE_KEY = -24;
const OTHER_KEY = -48;
const STACK_BYTES = 48;

/** What differs between the plans in reading a packet. */
interface Reading {
  readonly familyCode: Readonly<Record<4 | 6, number>>;
  /** Bytes of keys that hold the family, and first bytes of the address. */
  readonly familyAt: readonly number[];
  readonly addressAt: readonly number[];
  /** `type`: ICMP has its type for a port. `none`: it has port 0. */
  readonly icmpPort: "type" | "none";
}

/** Clears the keys and fills in family and address of the peer; then protocol in `PROTO`, port (network order) in 3. */
function readPacket(code: Assembler, direction: Direction, reading: Reading): void {
  code.load(4, DATA_END, [1, 4]);
  code.load(4, DATA, [1, 0]);
  for (let at = -STACK_BYTES; at < 0; at += 8) code.storeConstant(8, [STACK, at], 0);
  code.copy(2, DATA);
  code.add(2, IP[4].end);
  code.jumpIfBehind(2, DATA_END, "drop");
  code.load(2, 3, [DATA, 12]);
  code.jumpIf("ipv6", [3, "equal", IP[6].etherType]);
  code.jumpIf("drop", [3, "unequal", IP[4].etherType]);
  for (const family of [4, 6] as const) {
    const header = IP[family];
    if (family === 6) {
      code.label("ipv6");
      code.copy(2, DATA);
      code.add(2, header.end);
      code.jumpIfBehind(2, DATA_END, "drop");
    }
    code.load(1, PROTO, [DATA, header.protocol]);
    for (const at of reading.familyAt) code.storeConstant(1, [STACK, at], reading.familyCode[family]);
    const peer = direction === "ingress" ? header.source : header.destination;
    for (let word = 0; word < header.words; word++) {
      code.load(4, 3, [DATA, peer + 4 * word]);
      for (const at of reading.addressAt) code.store(4, [STACK, at + 4 * word], 3);
    }
    code.storeConstant(4, [STACK, TRIE_KEY], 32 + 32 * header.words);
    code.copy(2, DATA);
    code.add(2, header.layer4);
    if (family === 4) code.jump("layer 4");
  }
  code.label("layer 4");
  for (const protocol of [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp]) code.jumpIf("ports", [PROTO, "equal", protocol]);
  for (const protocol of [PROTOCOL.icmp, PROTOCOL.icmpv6]) code.jumpIf("icmp", [PROTO, "equal", protocol]);
  code.jump("drop"); // flows of other protocols are not tracked
  code.label("icmp");
  if (reading.icmpPort === "type") {
    code.load(1, 3, [2, 0]);
    code.swap16(3);
  } else code.set(3, 0);
  code.jump("read");
  code.label("ports");
  code.load(2, 3, [2, 2]);
  code.label("read");
}

function lookup(code: Assembler, map: number, key: number): void {
  code.loadMap(1, map);
  code.copy(2, STACK);
  code.add(2, key);
  code.call(MAP_LOOKUP);
}

function end(code: Assembler): Uint8Array {
  code.label("pass");
  code.set(0, POLICY_VERDICT.pass);
  code.exit();
  code.label("drop");
  code.set(0, POLICY_VERDICT.drop);
  code.exit();
  return code.assemble();
}

const READING = {
  identity: { familyCode: { 4: 1, 6: 2 }, familyAt: [TRIE_KEY + 7], addressAt: [TRIE_KEY + 8], icmpPort: "type" },
  tuple: {
    familyCode: { 4: 4, 6: 6 },
    familyAt: [OTHER_KEY + 16, TRIE_KEY + 4],
    addressAt: [OTHER_KEY, TRIE_KEY + 8],
    icmpPort: "none",
  },
} as const satisfies Readonly<Record<AttachPoint["plan"]["kind"], Reading>>;

/** What a plan does before it looks anything up: it reads the packet, and passes it. */
export function readingProgram(direction: Direction, plan: AttachPoint["plan"]["kind"]): Uint8Array {
  const code = new Assembler();
  readPacket(code, direction, READING[plan]);
  return end(code);
}

/** The `identity` plan. `ipcache` and `policy` are descriptors. */
export function identityProgram(direction: Direction, maps: { ipcache: number; policy: number }): Uint8Array {
  const code = new Assembler();
  readPacket(code, direction, READING.identity);
  code.storeConstant(4, [STACK, OTHER_KEY], 64); // identity, direction, protocol and port, all of their bits
  code.storeConstant(1, [STACK, OTHER_KEY + 8], direction === "egress" ? 1 : 0);
  code.store(1, [STACK, OTHER_KEY + 9], PROTO);
  code.store(2, [STACK, OTHER_KEY + 10], 3);

  lookup(code, maps.ipcache, TRIE_KEY);
  code.set(3, 2); // reserved:world
  code.jumpIfNull(0, "identified");
  code.load(4, 3, [0, 0]);
  code.label("identified");
  code.store(4, [STACK, OTHER_KEY + 4], 3);
  lookup(code, maps.policy, OTHER_KEY);
  code.copy(FOUND, 0);

  code.jumpIfNull(FOUND, "ask for anybody");
  code.load(4, 3, [FOUND, 4]);
  code.jumpIf("decide", [3, "equal", -1]); // the highest precedence: nobody else is asked
  code.label("ask for anybody");
  code.storeConstant(4, [STACK, OTHER_KEY + 4], 0);
  lookup(code, maps.policy, OTHER_KEY);
  code.jumpIfNull(0, "decide");
  code.jumpIfNull(FOUND, "take anybody");
  code.load(4, 3, [FOUND, 4]); // precedence
  code.load(4, 4, [0, 4]);
  code.jumpIfRegister("take anybody", [4, "greater", 3]);
  code.jumpIfRegister("decide", [4, "less", 3]);
  code.load(1, 3, [FOUND, 2]); // bits of protocol and port
  code.shiftRight(3, 3);
  code.load(1, 4, [0, 2]);
  code.shiftRight(4, 3);
  code.jumpIfRegister("take anybody", [4, "greater", 3]);
  code.jump("decide");
  code.label("take anybody");
  code.copy(FOUND, 0);
  code.label("decide");
  code.jumpIfNull(FOUND, "drop");
  code.load(1, 3, [FOUND, 2]);
  code.and(3, 1); // deny
  code.jumpIf("drop", [3, "unequal", 0]);
  return end(code);
}

/** The `tuple` plan. `exact` and `blocks` are descriptors. */
export function tupleProgram(direction: Direction, maps: { exact: number; blocks: number }): Uint8Array {
  const code = new Assembler();
  readPacket(code, direction, READING.tuple);
  code.copy(FOUND, 3); // the port, until the end
  const tables = [
    { map: maps.exact, key: OTHER_KEY, protocolAt: OTHER_KEY + 17 },
    { map: maps.blocks, key: TRIE_KEY, protocolAt: TRIE_KEY + 5 },
  ];
  for (const { map, key, protocolAt } of tables) {
    for (const scope of ["port", "protocol", "everything"] as const) {
      const next = `after ${scope} of ${protocolAt}`;
      if (scope === "everything") code.storeConstant(1, [STACK, protocolAt], 0);
      else code.store(1, [STACK, protocolAt], PROTO);
      if (scope === "port") code.store(2, [STACK, protocolAt + 1], FOUND);
      else code.storeConstant(2, [STACK, protocolAt + 1], 0);
      lookup(code, map, key);
      code.jumpIfNull(0, next);
      code.load(1, 3, [0, 0]);
      code.jumpIf("pass", [3, "equal", 1]);
      code.label(next);
    }
  }
  code.jump("drop");
  return end(code);
}
