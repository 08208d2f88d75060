/** Who reads destination ports in the maps of a program, and of which packets. */
import { rememberedBy } from "../compiler/again.ts";
import { hostCidr } from "../dataplane/address.ts";
import {
  decodeBlockKey,
  decodeIpcacheIdentity,
  decodeIpcacheKey,
  decodePolicyKey,
  decodePolicyValue,
  decodeTupleKey,
  isTupleAccept,
  policyPortPrefix,
} from "../dataplane/maps/layout.ts";
import type { AttachPoint, MapEntry, MapProgram } from "../dataplane/program.ts";
import { AtomSet } from "./atomSet.ts";
import type { PortTests } from "./portTests.ts";

/** Where the protocol stands in the key of an exact map, and of a map of blocks; the port is behind it. */
const EXACT_PROTOCOL = 17;
const BLOCK_PROTOCOL = 5;

/** The identity of an address that the ipcache does not know, and the one that stands for all. */
const WORLD = 2;
const ANYBODY = 0;

/** Ports that an answer tells from the others, of packets whose other end is one of these. */
type Add = (peers: AtomSet, ports: AtomSet) => void;

export function readMaps({ maps, attachPoints, attachment }: MapProgram, tests: PortTests): void {
  const entries = new Map(maps.map((map) => [map.name, map.entries]));
  const pods = new Map<string, AtomSet>();
  for (const { endpoint, addresses } of attachment.pods) {
    const own = pods.get(endpoint) ?? new AtomSet(tests.ends.length);
    pods.set(endpoint, own);
    for (const address of addresses) {
      const number = tests.number(hostCidr(address));
      if (number !== undefined) own.add(number);
    }
  }
  // A packet to port 0 reads the entry that is for every port.
  tests.everywhere(tests.portsThat(({ port }) => port === 0));
  const identities = new Map<string, ReadonlyMap<number, AtomSet>>();
  const policies = new Map<string, ReturnType<typeof answersOf>>();
  for (const { endpoint, direction, plan } of attachPoints) {
    const pod = pods.get(endpoint);
    if (pod === undefined || pod.isEmpty) continue;
    const add: Add = (peers, ports) =>
      tests.add(
        direction === "ingress" ? { sources: peers, destinations: pod } : { sources: pod, destinations: peers },
        ports,
      );
    if (plan.kind === "tuple") {
      readExact(entries.get(plan.exact) ?? [], tests, add);
      readBlocks(entries.get(plan.blocks) ?? [], tests, add);
      continue;
    }
    const known = identities.get(plan.ipcache) ?? identitiesOf(entries.get(plan.ipcache) ?? [], tests);
    identities.set(plan.ipcache, known);
    const answers = policies.get(plan.policy) ?? answersOf(entries.get(plan.policy) ?? [], tests);
    policies.set(plan.policy, answers);
    for (const [identity, own] of answers[direction]) {
      const peers = identity === ANYBODY ? tests.everybody : known.get(identity);
      if (peers !== undefined) for (const ports of groupsOf(own, tests)) add(peers, ports);
    }
  }
}

/** Only entries that accept have a say. */
function readExact(entries: readonly MapEntry[], tests: PortTests, add: Add): void {
  const byPeer = new Map<number, AtomSet>();
  for (const { key, value } of entries) {
    const ports = namedAt(tests, key, EXACT_PROTOCOL);
    if (ports === undefined || !isTupleAccept(value)) continue;
    const peer = tests.number(decodeTupleKey(key).peer);
    if (peer === undefined) continue;
    const known = byPeer.get(peer) ?? tests.setOf([]);
    byPeer.set(peer, known);
    for (const port of ports) known.add(port);
  }
  const alike = new Map<string, { peers: AtomSet; ports: AtomSet }>();
  for (const [peer, ports] of byPeer) {
    const known = alike.get(ports.key) ?? { peers: new AtomSet(tests.ends.length), ports };
    alike.set(ports.key, known);
    known.peers.add(peer);
  }
  for (const { peers, ports } of alike.values()) add(peers, ports);
}

/** The longest prefix decides, so holes have a say. */
function readBlocks(entries: readonly MapEntry[], tests: PortTests, add: Add): void {
  const found = new Map<string, { peers: AtomSet; ports: AtomSet }>();
  for (const { key, value } of entries) {
    const ports = namedAt(tests, key, BLOCK_PROTOCOL);
    if (ports === undefined) continue;
    const { peer } = decodeBlockKey(key);
    const name = `${peer.words.join()}/${peer.prefixLength} ${isTupleAccept(value)}`;
    const known = found.get(name) ?? { peers: tests.within(peer), ports: tests.setOf([]) };
    found.set(name, known);
    for (const port of ports) known.ports.add(port);
  }
  for (const { peers, ports } of found.values()) add(peers, ports);
}

/** The ports that a key names, whose protocol stands there. */
function namedAt(tests: PortTests, key: Uint8Array, at: number): readonly number[] | undefined {
  return tests.named(key[at] ?? 0, ((key[at + 1] ?? 0) << 8) | (key[at + 2] ?? 0));
}

/** The ends that an ipcache gives each identity. */
function identitiesOf(ipcache: readonly MapEntry[], tests: PortTests): ReadonlyMap<number, AtomSet> {
  const own = tests.ends.map(() => ({ bits: -1, identity: WORLD }));
  for (const { key, value } of ipcache) {
    const cidr = decodeIpcacheKey(key);
    for (const end of tests.within(cidr)) {
      if ((own[end]?.bits ?? 0) > cidr.prefixLength) continue;
      own[end] = { bits: cidr.prefixLength, identity: decodeIpcacheIdentity(value) };
    }
  }
  const identities = new Map<number, AtomSet>();
  for (const [end, { identity }] of own.entries()) {
    const known = identities.get(identity) ?? new AtomSet(tests.ends.length);
    identities.set(identity, known);
    known.add(end);
  }
  return identities;
}

/** By identity, what a policy map says to each port: the entry of the longest prefix that has the port. */
type Answers = Map<number, { readonly bits: number; readonly answer: string }[]>;

function answersOf(
  entries: readonly MapEntry[],
  tests: PortTests,
): Readonly<Record<AttachPoint["direction"], Answers>> {
  const answers = { ingress: new Map() as Answers, egress: new Map() as Answers };
  const everyPort = [...tests.ports.keys()];
  for (const { key, value } of entries) {
    const entry = decodePolicyKey(key);
    const { direction, identity, protocol, port, portBits } = entry;
    // Most entries name one port, and few of the ports are asked about.
    const ports = portBits === 16 ? tests.named(protocol, port) : everyPort;
    if (ports === undefined) continue;
    const own = answers[direction].get(identity) ?? tests.ports.map(() => NO_ANSWER);
    answers[direction].set(identity, own);
    const bits = policyPortPrefix(entry);
    let answer: string | undefined;
    for (const index of ports) {
      const one = tests.ports[index];
      if (one === undefined || (protocol !== 0 && protocol !== one.protocol)) continue;
      if ((one.port ^ port) >>> (16 - portBits) !== 0 || (own[index]?.bits ?? 0) > bits) continue;
      answer ??= answerOf(value);
      own[index] = { bits, answer };
    }
  }
  return answers;
}

/** By all their answers in one text: many identities have the same. */
const GROUPS = new WeakMap<PortTests, Map<string, readonly AtomSet[]>>();

/** The ports of each answer; none when all have one. */
function groupsOf(own: readonly { readonly answer: string }[], tests: PortTests): readonly AtomSet[] {
  const known = rememberedBy(GROUPS, tests, () => new Map<string, readonly AtomSet[]>());
  let name = "";
  for (const { answer } of own) name += `${answer},`;
  const groups = known.get(name) ?? groupedPorts(own, tests);
  known.set(name, groups);
  return groups;
}

function groupedPorts(own: readonly { readonly answer: string }[], tests: PortTests): readonly AtomSet[] {
  const groups = new Map<string, AtomSet>();
  for (const [index, { answer }] of own.entries()) {
    const known = groups.get(answer) ?? tests.setOf([]);
    groups.set(answer, known);
    known.add(index);
  }
  return groups.size === 1 ? [] : [...groups.values()];
}

const NO_ANSWER = { bits: -1, answer: "" };

/** Everything of a value that decides. */
function answerOf(value: Uint8Array): string {
  const { deny, precedence, portPrefix } = decodePolicyValue(value);
  return `${deny} ${precedence} ${portPrefix}`;
}
