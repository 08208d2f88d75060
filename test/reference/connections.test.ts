import { expect, test } from "vitest";
import type { Packet } from "../../dataplane/packet.ts";
import { ReferenceConnections } from "../../reference/connections.ts";
import { answerTo } from "../../verify/answer.ts";
import {
  address,
  cluster,
  EVERYTHING,
  packet,
  pod,
  policy,
  policyPort,
  rule,
  selector,
} from "../../verify/fuzz/builders.ts";

const CLIENT = "10.1.0.2";
const SERVER = "10.1.0.3";
const pods = [pod("default/client", [CLIENT]), pod("default/server", [SERVER], { labels: { app: "server" } })];

/** The server takes TCP 80, UDP 53 and SCTP 9 and starts nothing; the client takes nothing. */
const model = cluster({
  endpoints: pods,
  policies: [
    policy("default/deny", EVERYTHING, { ingress: [] }),
    policy("default/server", selector({ app: "server" }), {
      ingress: [rule([], [policyPort("TCP", 80), policyPort("UDP", 53), policyPort("SCTP", 9)])],
      egress: [],
    }),
  ],
});

/** The same, and the server takes pings. */
const pingable = cluster({
  ...model,
  policies: [...model.policies, policy("default/ping", selector({ app: "server" }), { ingress: [rule()] })],
});

const closed = cluster({
  endpoints: pods,
  policies: [policy("default/deny", EVERYTHING, { ingress: [], egress: [] })],
});

const syn = packet("tcp", CLIENT, SERVER, { destinationPort: 80 });
const ACK = 0x10;
const FIN = 0x01;
const RST = 0x04;

function verdicts(connections: ReferenceConnections, packets: readonly Packet[]): readonly string[] {
  return packets.map((one) => {
    const { verdict, ctState } = connections.push(one);
    return `${verdict} ${ctState}`;
  });
}

test("a handshake and the data after it belong to the allowed connection", () => {
  const data = { ...syn, tcpFlags: ACK };
  expect(verdicts(new ReferenceConnections(model), [syn, answerTo(syn), data, answerTo(data)])).toEqual([
    "accept new",
    "accept established",
    "accept established",
    "accept established",
  ]);
});

test("a dropped packet leaves nothing: its reply is a new packet, and dropped too", () => {
  const refused = packet("tcp", CLIENT, SERVER, { destinationPort: 81 });
  expect(verdicts(new ReferenceConnections(model), [refused, answerTo(refused), refused])).toEqual([
    "drop new",
    "drop new",
    "drop new",
  ]);
});

test("another source port, protocol or direction is another connection", () => {
  const connections = new ReferenceConnections(model);
  connections.push(syn);
  connections.setModel(closed);
  expect(connections.push({ ...syn, sourcePort: 40_001 }).verdict).toBe("drop");
  expect(connections.push(packet("sctp", CLIENT, SERVER, { destinationPort: 80 })).verdict).toBe("drop");
  expect(connections.push({ ...answerTo(syn), destinationPort: 40_001 }).verdict).toBe("drop");
  expect(connections.push(syn).verdict).toBe("accept");
});

test("flush forgets every connection", () => {
  const connections = new ReferenceConnections(model);
  connections.push(syn);
  connections.flush();
  expect(connections.push(answerTo(syn))).toMatchObject({ verdict: "drop", ctState: "new" });
});

test("a reset ends a connection, and an end that was never begun begins none", () => {
  const connections = new ReferenceConnections(model);
  const reset = { ...answerTo(syn), tcpFlags: RST };
  expect(verdicts(connections, [syn, reset, answerTo(syn)])).toEqual(["accept new", "accept established", "drop new"]);
  expect(verdicts(connections, [{ ...syn, tcpFlags: RST }, answerTo(syn)])).toEqual(["accept new", "drop new"]);
});

test("after both ends said FIN the rest passes, and a new SYN asks the rules again", () => {
  const connections = new ReferenceConnections(model);
  const fin = { ...syn, tcpFlags: FIN | ACK };
  const finBack = { ...answerTo(syn), tcpFlags: FIN | ACK };
  const last = { ...syn, tcpFlags: ACK };
  expect(verdicts(connections, [syn, fin, finBack, last])).not.toContain("drop new");
  connections.setModel(closed);
  expect(verdicts(connections, [last, syn, answerTo(syn)])).toEqual(["accept established", "drop new", "drop new"]);
});

test("a SYN sent again on a live connection, or after one FIN only, is part of it", () => {
  const connections = new ReferenceConnections(model);
  connections.push(syn);
  connections.push({ ...syn, tcpFlags: FIN | ACK });
  connections.setModel(closed);
  expect(connections.push(syn)).toMatchObject({ verdict: "accept", ctState: "established" });
});

test("UDP answers pass, and SCTP ends with an abort", () => {
  const question = packet("udp", CLIENT, SERVER, { destinationPort: 53 });
  const init = packet("sctp", CLIENT, SERVER, { destinationPort: 9 });
  const abort = { ...init, sctpChunk: 6 };
  expect(
    verdicts(new ReferenceConnections(model), [
      question,
      answerTo(question),
      init,
      answerTo(init),
      abort,
      answerTo(init),
    ]),
  ).toEqual(["accept new", "accept established", "accept new", "accept established", "accept established", "drop new"]);
});

test("an echo reply passes when its request did, with the same identifier and the other way", () => {
  const request = packet("icmp", CLIENT, SERVER, { icmpId: 7 });
  expect(verdicts(new ReferenceConnections(model), [request, answerTo(request)])).toEqual(["drop new", "drop new"]);
  const connections = new ReferenceConnections(pingable);
  expect(verdicts(connections, [request, answerTo(request), { ...answerTo(request), icmpId: 8 }])).toEqual([
    "accept new",
    "accept established",
    "drop new",
  ]);
  // A request the other way is its own connection.
  expect(connections.push(packet("icmp", SERVER, CLIENT, { icmpId: 7 })).verdict).toBe("drop");
});

test("an ICMP error passes when it quotes a live connection and goes to the quoted sender", () => {
  const connections = new ReferenceConnections(model);
  const error = (quoted: Packet, to: string) => packet("icmp", "203.0.113.9", to, { icmpType: 3, icmpCode: 1, quoted });
  expect(connections.push(error(syn, CLIENT)).verdict).toBe("drop");
  connections.push(syn);
  expect(connections.push(error(syn, CLIENT))).toMatchObject({ verdict: "accept", ctState: "related" });
  expect(connections.push(error(answerTo(syn), SERVER))).toMatchObject({ verdict: "accept", ctState: "related" });
  expect(connections.push(error(syn, SERVER)).verdict).toBe("drop");
  expect(connections.push(error({ ...syn, sourcePort: 1 }, CLIENT)).verdict).toBe("drop");
});

test("an ICMP error about a ping belongs to the ping", () => {
  const connections = new ReferenceConnections(pingable);
  const request = packet("icmp", CLIENT, SERVER, { icmpId: 7 });
  const error = packet("icmp", "203.0.113.9", CLIENT, { icmpType: 11, quoted: request });
  expect(connections.push(error).verdict).toBe("drop");
  connections.push(request);
  expect(connections.push(error)).toMatchObject({ verdict: "accept", ctState: "related" });
});

test("addresses are compared as numbers, so IPv6 connections are kept apart too", () => {
  const six = cluster({
    endpoints: [pod("default/client", ["fd00::2"]), pod("default/server", ["fd00::3"])],
    policies: [policy("default/deny", EVERYTHING, { ingress: [rule([], [policyPort("TCP", 80)])], egress: [] })],
  });
  const open = cluster({ ...six, policies: [] });
  const first = packet("tcp", "fd00::2", "fd00::3", { destinationPort: 80 });
  const connections = new ReferenceConnections(open);
  connections.push(first);
  connections.setModel(six);
  expect(connections.push(answerTo(first)).verdict).toBe("accept");
  expect(connections.push({ ...answerTo(first), source: address("fd00::4") }).verdict).toBe("drop");
});
