/** Lines of flow logs as their makers write them, about packets of a cluster; for the fuzzer to break. */
import { formatAddress } from "../../dataplane/address.ts";
import { type Packet, PROTOCOL, protocolName } from "../../dataplane/packet.ts";
import type { TrafficFormat } from "../../traffic/source.ts";

type LogFormat = Extract<TrafficFormat, "hubble" | "calico-flow" | "aws-vpc" | "zeek" | "csv">;

export const LOG_FORMATS: readonly LogFormat[] = ["hubble", "calico-flow", "aws-vpc", "zeek", "csv"];

const START = 1_714_564_800;

const ZEEK_FIELDS = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto duration orig_bytes resp_bytes conn_state";

/** What stands before the lines. */
const HEADERS: Readonly<Record<LogFormat, readonly string[]>> = {
  hubble: [],
  "calico-flow": [],
  "aws-vpc": [
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status",
  ],
  zeek: ["#separator \\x09", "#path\tconn", `#fields\t${ZEEK_FIELDS.replaceAll(" ", "\t")}`],
  csv: ["time,protocol,source,sourcePort,destination,destinationPort,bytes,verdict"],
};

export function flowLog(format: LogFormat, packets: readonly Packet[]): string {
  const lines = packets
    .filter(({ protocol }) => protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp)
    .map((packet, index) => LINES[format](packet, index));
  return [...HEADERS[format], ...lines].map((line) => `${line}\n`).join("");
}

const LINES: Readonly<Record<LogFormat, (packet: Packet, index: number) => string>> = {
  hubble: (packet, index) => {
    const time = `2024-05-01T12:00:${String(index % 60).padStart(2, "0")}.5Z`;
    const ports = { source_port: packet.sourcePort, destination_port: packet.destinationPort };
    const l4 = packet.protocol === PROTOCOL.tcp ? { TCP: { ...ports, flags: { SYN: true } } } : { UDP: ports };
    const ends = { source: formatAddress(packet.source), destination: formatAddress(packet.destination) };
    const flow = { time, verdict: "FORWARDED", IP: { ...ends, ipVersion: `IPv${packet.source.family}` }, l4 };
    return JSON.stringify({ flow: { ...flow, is_reply: false }, node_name: "node-a", time });
  },
  "calico-flow": (packet, index) =>
    JSON.stringify({
      start_time: START + index,
      end_time: START + index + 60,
      source_ip: formatAddress(packet.source),
      source_name: "web-*",
      source_namespace: "shop",
      source_type: "wep",
      source_port: packet.sourcePort,
      dest_ip: formatAddress(packet.destination),
      dest_name: "db-*",
      dest_namespace: "shop",
      dest_type: "wep",
      dest_port: packet.destinationPort,
      proto: protocolName(packet.protocol),
      action: "allow",
      reporter: "src",
      num_flows: 1,
      num_flows_started: 1,
      packets_out: 3,
      bytes_out: 180,
    }),
  "aws-vpc": ({ source, destination, sourcePort, destinationPort, protocol }, index) =>
    `2 123456789012 eni-0a1b ${formatAddress(source)} ${formatAddress(destination)} ${sourcePort} ${destinationPort} ${protocol} 4 240 ${START + index} ${START + index + 60} ACCEPT OK`,
  zeek: ({ source, destination, sourcePort, destinationPort, protocol }, index) =>
    [
      `${START + index}.25`,
      `C${index}`,
      formatAddress(source),
      sourcePort,
      formatAddress(destination),
      destinationPort,
      protocolName(protocol),
      "0.5",
      "10",
      "20",
      "SF",
    ].join("\t"),
  csv: ({ source, destination, sourcePort, destinationPort, protocol }, index) =>
    [
      START + index,
      protocolName(protocol),
      formatAddress(source),
      sourcePort,
      formatAddress(destination),
      destinationPort,
      60,
      "accept",
    ].join(),
};
