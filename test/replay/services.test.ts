/** Service addresses whose endpoint a recording shows, wherever its batches begin. */
import { expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { BATCH_ROWS } from "../../traffic/source.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { dbService } from "./dbService.ts";

const CLUSTER = "scenarios/db-policy/cluster.yaml";
/** The first of two endpoints is default/db, the second default/frontend. */
const SERVICE = dbService("10.10.1.10", "10.10.1.12");
const ENDPOINT = ["10.10.1.12", 3306] as const;
const VIRTUAL = ["10.96.0.10", 33] as const;

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/** After so many other packets one SYN on two interfaces, to these destinations; then its answer. */
function capture(others: number, destinations: readonly (readonly [address: string, port: number])[]): Uint8Array {
  const writer = new PcapngWriter({});
  const ids = ["one", "two"].map((name) => writer.addInterface({ linkType: PACKET_LINK_TYPE, name }));
  let number = 0;
  const add = (interfaceId: number, packet: Omit<Parameters<typeof makePacket>[0], "time">): void => {
    const frame = packetFrame(makePacket({ ...packet, time: 1000 + number++ / 100_000 }));
    writer.frame({ ...frame, interfaceId: ids[interfaceId] ?? 0 });
  };
  const source = address("10.10.2.10");
  for (let other = 0; other < others; other++) {
    const ends = { source, destination: address("10.10.2.13"), sourcePort: 1024 + other, destinationPort: 53 };
    add(0, { ...ends, protocol: PROTOCOL.udp });
  }
  const tcp = { protocol: PROTOCOL.tcp, sequence: 77, tcpFlags: TCP_FLAG.S };
  for (const [at, [text, port]] of destinations.entries()) {
    add(at, { ...tcp, source, destination: address(text), sourcePort: 40_000, destinationPort: port });
  }
  return writer.take();
}

const last = BATCH_ROWS - 1;

it.each([
  ["in one batch", 10, [VIRTUAL, ENDPOINT]],
  ["the endpoint in the next batch", last, [VIRTUAL, ENDPOINT]],
  ["the endpoint in the batch before", last, [ENDPOINT, VIRTUAL]],
  ["both in the second batch", last + 1, [VIRTUAL, ENDPOINT]],
])("the endpoint that the recording shows is taken: %s", async (_, others, destinations) => {
  const files = { "a.pcapng": capture(others, destinations), "service.yaml": SERVICE };
  const { out } = await chainwalk(`replay -f ${CLUSTER} -f service.yaml a.pcapng -o json -q --filter tcp`, { files });
  const { flows, totals, notes } = JSON.parse(out);
  expect(flows).toMatchObject([{ to: "default/frontend", destinationPort: 3306, packets: 1 }]);
  expect(notes.join("\n")).not.toContain("does not show which endpoint");
  // Copies are no packets that were replayed.
  expect(totals).toMatchObject({ packets: 1, accept: 1, skipped: 1, filteredPackets: others });
});

it("where it shows none, the first is taken, and said", async () => {
  const files = { "a.pcapng": capture(last, [VIRTUAL]), "service.yaml": SERVICE };
  const { out } = await chainwalk(`replay -f ${CLUSTER} -f service.yaml a.pcapng -o json -q --filter tcp`, { files });
  const { flows, notes } = JSON.parse(out);
  expect(flows).toMatchObject([{ to: "default/db" }]);
  expect(notes.join("\n")).toContain("does not show which endpoint answered for default/db");
});
