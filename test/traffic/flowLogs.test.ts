/** Flow logs become the packets they imply, and say what they do not know. */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { RECORDED } from "../../traffic/source.ts";
import { statesOf } from "./connectionStates.ts";
import { linesOfRows, readTraffic } from "./readTraffic.ts";

const hubble = (flow: object) =>
  JSON.stringify({
    flow: { time: "2024-05-01T12:00:00.5Z", ...flow },
    node_name: "node-a",
    time: "2024-05-01T12:00:00.5Z",
  });

const HUBBLE_ENDS = {
  IP: { source: "10.0.1.5", destination: "10.0.2.6", ipVersion: "IPv4" },
  source: { identity: 1, namespace: "shop", pod_name: "web-1" },
  destination: { identity: 2, namespace: "shop", pod_name: "db-0" },
};

describe("Hubble", () => {
  it("gives a connection once, although it is seen at several points, and closes it at the end", async () => {
    const port = { source_port: 40001, destination_port: 3306 };
    const swapped = { IP: { source: "10.0.2.6", destination: "10.0.1.5" }, is_reply: true };
    const lines = [
      hubble({ ...HUBBLE_ENDS, verdict: "FORWARDED", l4: { TCP: { ...port, flags: { SYN: true } } }, is_reply: false }),
      hubble({ ...HUBBLE_ENDS, verdict: "FORWARDED", l4: { TCP: { ...port, flags: { SYN: true } } }, is_reply: false }),
      hubble({
        ...swapped,
        verdict: "FORWARDED",
        l4: { TCP: { source_port: 3306, destination_port: 40001, flags: { SYN: true, ACK: true } } },
      }),
      hubble({
        ...HUBBLE_ENDS,
        verdict: "FORWARDED",
        l4: { TCP: { ...port, flags: { FIN: true, ACK: true } } },
        is_reply: false,
      }),
      hubble({
        ...swapped,
        verdict: "FORWARDED",
        l4: { TCP: { source_port: 3306, destination_port: 40001, flags: { FIN: true, ACK: true } } },
      }),
    ];
    const { source, rows } = await readTraffic(lines.join("\n"));
    expect(source.format).toBe("hubble");
    expect(source.isImplied).toBe(true);
    const shown = linesOfRows(rows);
    expect(shown.filter((line) => line.endsWith(" S"))).toEqual(["tcp 10.0.1.5:40001 > 10.0.2.6:3306 S"]);
    expect(shown.slice(0, 3)).toEqual([
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 S",
      "tcp 10.0.2.6:3306 > 10.0.1.5:40001 SA",
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 A",
    ]);
    expect(shown.filter((line) => line.endsWith(" FA"))).toHaveLength(2);
    expect(shown.at(-1)).toBe("tcp 10.0.2.6:3306 > 10.0.1.5:40001 A");
    expect(source.names.get("10.0.1.5")).toBe("shop/web-1");
    expect(source.interfaces[0]?.node).toBe("node-a");
    expect(source.issues).toEqual([]);
    expect(source.notes.length).toBeGreaterThan(0);
  });

  it("keeps a drop as the first packet alone", async () => {
    const line = hubble({
      ...HUBBLE_ENDS,
      verdict: "DROPPED",
      drop_reason_desc: "POLICY_DENIED",
      l4: { TCP: { source_port: 40002, destination_port: 22, flags: { SYN: true } } },
    });
    const { rows } = await readTraffic(line);
    expect(linesOfRows(rows)).toEqual(["tcp 10.0.1.5:40002 > 10.0.2.6:22 S"]);
    expect(rows[0]?.recorded).toBe(RECORDED.drop);
    expect(rows[0]?.seconds).toBe(Date.parse("2024-05-01T12:00:00Z") / 1000);
    expect(rows[0]?.nanoseconds).toBe(500_000_000);
  });

  it("counts records that are no packets, goes on after bad lines, and names those by number", async () => {
    const lines = [
      JSON.stringify({ lost_events: { source: "HUBBLE_RING_BUFFER", num_events_lost: "7" }, node_name: "node-a" }),
      "{ not json",
      hubble({ ...HUBBLE_ENDS, verdict: "MAYBE", l4: { UDP: { source_port: 1, destination_port: 53 } } }),
      hubble({ ...HUBBLE_ENDS, verdict: "FORWARDED", Type: "L7", l4: { TCP: {} }, l7: {} }),
      hubble({ ...HUBBLE_ENDS, verdict: "FORWARDED", l4: { UDP: { source_port: 40000, destination_port: 53 } } }),
    ];
    const { source, rows } = await readTraffic(`${lines.join("\r\n")}\r\n`);
    expect(linesOfRows(rows)).toEqual(["udp 10.0.1.5:40000 > 10.0.2.6:53"]);
    expect(source.issues.map(({ line, severity }) => [line, severity])).toEqual([
      [2, "warning"],
      [3, "warning"],
    ]);
    expect(source.skipped.get("lost-events record")).toBe(1);
    expect(source.skipped.get("unreadable line")).toBe(2);
    expect(source.notes.join()).toContain("7 events were lost");
  });

  it("reads a record as the exporter writes it, what is at its default left out, and tells drops that are not policy's", async () => {
    const record = (flow: object) =>
      hubble({
        uuid: "11111111-2222-4333-8444-555555555555",
        ethernet: { source: "0a:00:00:00:00:01", destination: "0a:00:00:00:00:02" },
        Type: "L3_L4",
        node_name: "kind/node-b",
        event_type: { type: 4, sub_type: 3 },
        traffic_direction: "INGRESS",
        trace_observation_point: "TO_ENDPOINT",
        interface: { index: 12, name: "lxc1" },
        ...HUBBLE_ENDS,
        ...flow,
      });
    const back = { IP: { source: "10.0.2.6", source_xlated: "10.96.0.1", destination: "10.0.1.5", ipVersion: "IPv4" } };
    const { source, rows } = await readTraffic(
      [
        record({ verdict: "FORWARDED", l4: { ICMPv4: { type: 8 } }, is_reply: false }),
        // An echo reply: type 0 is left out, and here so is is_reply.
        record({ ...back, verdict: "FORWARDED", l4: { ICMPv4: {} } }),
        record({
          verdict: "DROPPED",
          drop_reason: 153,
          drop_reason_desc: "STALE_OR_UNROUTABLE_IP",
          l4: { TCP: { source_port: 40003, destination_port: 80, flags: { SYN: true } } },
        }),
        record({ verdict: "FORWARDED", l4: { IGMP: { type: 22, group_address: "224.0.0.1" } } }),
        JSON.stringify({
          rate_limit_info: { number_of_dropped_events: 3 },
          node_name: "node-b",
          time: "2024-05-01T12:00:01Z",
        }),
        JSON.stringify({ node_status: { state_change: "NODE_CONNECTED", node_names: ["kind/node-b"] } }),
      ].join("\n"),
    );
    expect(linesOfRows(rows)).toEqual([
      "icmp 10.0.1.5 > 10.0.2.6 8",
      "icmp 10.0.2.6 > 10.0.1.5 0",
      "tcp 10.0.1.5:40003 > 10.0.2.6:80 S",
    ]);
    expect(source.issues).toEqual([]);
    expect(source.skipped).toEqual(
      new Map([
        ["IGMP transport protocol", 1],
        ["lost-events record", 1],
        ["status record", 1],
      ]),
    );
    expect(source.notes.join("\n")).toContain("other reasons than policy: STALE_OR_UNROUTABLE_IP 1");
    expect(source.notes.join("\n")).toContain("3 events were lost");
    expect(source.interfaces[0]).toMatchObject({ name: "lxc1", node: "kind/node-b" });
  });

  it("reads bare flows of older versions", async () => {
    const flow = {
      time: "2024-05-01T12:00:00Z",
      verdict: "FORWARDED",
      ...HUBBLE_ENDS,
      l4: { ICMPv4: { type: 8 } },
    };
    const { source, rows } = await readTraffic(JSON.stringify(flow));
    expect(source.format).toBe("hubble");
    expect(linesOfRows(rows)).toEqual(["icmp 10.0.1.5 > 10.0.2.6 8"]);
  });
});

describe("Calico", () => {
  it("reads flow log files, shares their bytes among the packets, and tells drops", async () => {
    const flow = {
      start_time: 1714564800,
      end_time: 1714564860,
      source_ip: "10.0.1.5",
      source_name: "-",
      source_name_aggr: "web-*",
      source_namespace: "shop",
      source_port: 40100,
      source_type: "wep",
      dest_ip: "10.0.2.6",
      dest_name_aggr: "db-*",
      dest_namespace: "shop",
      dest_port: 3306,
      proto: "tcp",
      action: "allow",
      reporter: "dst",
      bytes_in: 3000,
      bytes_out: 9000,
      packets_in: 12,
      packets_out: 14,
      num_flows_completed: 1,
    };
    const denied = { ...flow, action: "deny", dest_port: 22, bytes_in: 60, bytes_out: 0, source_port: 40101 };
    const { source, rows } = await readTraffic(`${JSON.stringify(flow)}\n${JSON.stringify(denied)}\n`);
    expect(source.format).toBe("calico-flow");
    const allowed = rows.filter(({ offset }) => offset === 1);
    expect(linesOfRows(allowed).map((line) => line.split(" ").at(-1))).toEqual([
      "S",
      "SA",
      "A",
      "PA",
      "PA",
      "FA",
      "FA",
      "A",
    ]);
    const bytesFrom = (port: number) =>
      allowed.filter(({ packet }) => packet.sourcePort === port).reduce((sum, { frameBytes }) => sum + frameBytes, 0);
    expect(bytesFrom(40100)).toBe(3000);
    expect(bytesFrom(3306)).toBe(9000);
    const drop = rows.filter(({ offset }) => offset === 2);
    expect(linesOfRows(drop)).toEqual(["tcp 10.0.1.5:40101 > 10.0.2.6:22 S"]);
    expect(drop[0]?.recorded).toBe(RECORDED.drop);
  });

  const GOLDMANE = {
    "what its gRPC clients write": {
      id: "7",
      flow: {
        Key: {
          sourceName: "web-*",
          sourceNamespace: "shop",
          sourceType: "WorkloadEndpoint",
          destName: "db-*",
          destNamespace: "shop",
          destType: "WorkloadEndpoint",
          destPort: "3306",
          destServiceName: "db",
          proto: "tcp",
          reporter: "Dst",
          action: "Deny",
          policies: { enforcedPolicies: [{ kind: "NetworkPolicy", name: "closed", action: "Deny", ruleIndex: "-1" }] },
        },
        startTime: "1714564800",
        endTime: "1714564815",
        sourceLabels: ["app=web"],
        packetsIn: "5",
        bytesIn: "300",
        numConnectionsStarted: "5",
      },
    },
    "what its emitter posts": {
      Key: {
        source_name: "web-*",
        source_namespace: "shop",
        source_type: 1,
        dest_name: "db-*",
        dest_namespace: "shop",
        dest_type: 1,
        dest_port: 3306,
        proto: "tcp",
        reporter: 2,
        action: 2,
      },
      start_time: 1_714_564_800,
      end_time: 1_714_564_815,
      packets_in: 5,
      bytes_in: 300,
      num_connections_started: 5,
    },
  };
  const knows = (names: Readonly<Record<string, string>>) => ({
    resolve: (name: string) => parseAddress(names[name] ?? "") ?? { problem: `${name} is unknown` },
  });

  it.each(Object.entries(GOLDMANE))("reads Goldmane's flows: %s", async (_, flow) => {
    const { source, rows } = await readTraffic(
      JSON.stringify(flow),
      knows({ "shop/web-*": "10.0.1.5", "shop/db-*": "10.0.2.6" }),
    );
    expect(source.format).toBe("calico-flow");
    expect(source.issues).toEqual([]);
    expect(linesOfRows(rows)).toEqual(["tcp 10.0.1.5:32768 > 10.0.2.6:3306 S"]);
    expect(rows[0]).toMatchObject({ recorded: RECORDED.drop, seconds: 1_714_564_800, frameBytes: 300 });
    expect(source.interfaces[0]?.name).toBe("dst");
    expect(source.notes.join("\n")).toContain("1 record about all pods of an owner");
  });

  it("takes hosts for nodes, and counts ends that have no address, by what they are", async () => {
    const flow = {
      start_time: 1_714_564_800,
      end_time: 1_714_564_815,
      source_ip: null,
      source_name: "-",
      source_name_aggr: "node-a",
      source_namespace: "-",
      source_port: null,
      source_type: "hep",
      dest_ip: "10.0.2.6",
      dest_name: "db-0",
      dest_name_aggr: "db-*",
      dest_namespace: "shop",
      dest_port: 3306,
      dest_type: "wep",
      proto: "tcp",
      action: "deny",
      reporter: "dst",
      policies: { enforced_policies: ["0|default|shop/closed|deny|-1"], pending_policies: [] },
      bytes_in: 60,
      bytes_out: 0,
    };
    const outside = { source_name_aggr: "pub", source_type: "net" };
    const set = { source_name_aggr: "office", source_type: "ns" };
    const { source, rows } = await readTraffic(
      [flow, { ...flow, ...outside }, { ...flow, ...set }, { ...flow, proto: "icmp", dest_port: null }]
        .map((each) => JSON.stringify(each))
        .join("\n"),
      knows({ "node:node-a": "192.168.0.1" }),
    );
    expect(linesOfRows(rows)).toEqual(["tcp 192.168.0.1:32768 > 10.0.2.6:3306 S", "icmp 192.168.0.1 > 10.0.2.6 8"]);
    expect([...source.skipped.keys()]).toEqual([
      "outside the cluster (pub), without an address in the log",
      "a network set (office), of which the log has no address",
    ]);
    expect(source.names.get("10.0.2.6")).toBe("shop/db-0");
  });

  it("reads Whisker's answer, whose names need someone who knows them", async () => {
    const item = {
      start_time: "2025-05-01T12:00:00Z",
      end_time: "2025-05-01T12:00:15Z",
      action: "Allow",
      source_name: "web-*",
      source_namespace: "shop",
      dest_name: "db-*",
      dest_namespace: "shop",
      protocol: "tcp",
      dest_port: 3306,
      reporter: "Src",
      packets_out: 3,
      bytes_out: 300,
      packets_in: 2,
      bytes_in: 200,
    };
    const text = JSON.stringify({ total: { totalPages: 1 }, items: [item, { ...item, dest_name: "gone" }] });
    const blind = await readTraffic(text);
    expect(blind.rows).toEqual([]);
    expect([...blind.source.skipped.keys()]).toEqual(["no address known for shop/web-*"]);
    const known = new Map([
      ["shop/web-*", "10.0.1.5"],
      ["shop/db-*", "10.0.2.6"],
    ]);
    const { source, rows } = await readTraffic(text, {
      resolve: (name) => parseAddress(known.get(name) ?? "") ?? { problem: `${name} is unknown` },
    });
    expect(linesOfRows(rows)[0]).toBe("tcp 10.0.1.5:32768 > 10.0.2.6:3306 S");
    expect(source.skipped.get("no address known for shop/gone")).toBe(1);
    expect(source.notes.join()).toContain("no source port");
  });
});

describe("AWS VPC flow logs", () => {
  it("pair the two directions of the default format by their ports", async () => {
    const { source, rows } = await readTraffic(
      [
        "2 123456789010 eni-1235b8ca123456789 10.0.2.6 10.0.1.5 3306 40001 6 20 4249 1418530010 1418530070 ACCEPT OK",
        "2 123456789010 eni-1235b8ca123456789 10.0.1.5 10.0.2.6 40001 3306 6 18 2000 1418530010 1418530070 ACCEPT OK",
        "2 123456789010 eni-1235b8ca123456789 10.0.9.9 10.0.2.6 40002 3389 6 1 40 1418530010 1418530070 REJECT OK",
        "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA",
      ].join("\n"),
    );
    expect(source.format).toBe("aws-vpc");
    const shown = linesOfRows(rows);
    expect(shown.filter((line) => line.endsWith(" S"))).toEqual([
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 S",
      "tcp 10.0.9.9:40002 > 10.0.2.6:3389 S",
    ]);
    expect(rows.reduce((sum, { frameBytes }) => sum + frameBytes, 0)).toBe(4249 + 2000 + 40);
    expect(rows.filter(({ recorded }) => recorded === RECORDED.drop)).toHaveLength(1);
    expect(source.skipped.get("interval without traffic (NODATA)")).toBe(1);
    expect(source.notes.join()).toContain("told by the ports in 2 records");
    expect(source.interfaces[0]?.name).toBe("eni-1235b8ca123456789");
  });

  it("read the fields that a header names, packets' own addresses first", async () => {
    const { rows } = await readTraffic(
      [
        "version vpc-id pkt-srcaddr pkt-dstaddr srcaddr dstaddr srcport dstport protocol tcp-flags type flow-direction start end packets bytes action log-status",
        "5 vpc-1 10.0.2.6 10.0.1.5 10.9.0.2 10.9.0.1 3306 40001 6 19 IPv4 ingress 1418530010 1418530020 5 500 ACCEPT OK",
        "5 vpc-1 10.0.1.5 10.0.2.6 10.9.0.1 10.9.0.2 40001 3306 6 3 IPv4 egress 1418530010 1418530020 6 600 ACCEPT OK",
        // As Athena and Parquet name the fields.
        "version vpc_id pkt_srcaddr pkt_dstaddr srcaddr dstaddr srcport dstport protocol tcp_flags type flow_direction start end packets bytes action log_status",
        "5 vpc-1 10.0.1.5 10.0.2.6 10.9.0.1 10.9.0.2 40001 3306 6 1 IPv4 egress 1418530020 1418530030 6 600 ACCEPT OK",
      ].join("\n"),
    );
    const shown = linesOfRows(rows);
    expect(shown[0]).toBe("tcp 10.0.1.5:40001 > 10.0.2.6:3306 S");
    expect(shown.filter((line) => line.endsWith("FA"))).toHaveLength(2);
    expect(shown.filter((line) => line.endsWith(" S"))).toHaveLength(1);
  });
});

describe("Zeek", () => {
  const HEADER = [
    "#separator \\x09",
    "#set_separator\t,",
    "#empty_field\t(empty)",
    "#unset_field\t-",
    "#path\tconn",
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes",
  ];
  it("reads the states of connections from tab-separated logs", async () => {
    const { source, rows } = await readTraffic(
      [
        ...HEADER,
        "1714564800.5\tC1\t10.0.1.5\t40001\t10.0.2.6\t3306\ttcp\tmysql\t60.0\t100\t200\tSF\t6\t400\t5\t450",
        "1714564801.0\tC2\t10.0.1.5\t40002\t10.0.2.6\t22\ttcp\t-\t-\t-\t-\tS0\t1\t60\t0\t0",
        "1714564802.0\tC3\t10.0.1.5\t40003\t10.0.2.6\t23\ttcp\t-\t-\t-\t-\tREJ\t1\t60\t1\t40",
        "1714564803.0\tC4\t10.0.1.5\t8\t10.0.2.6\t0\ticmp\t-\t1.0\t56\t56\tOTH\t1\t84\t1\t84",
        "#close\t2024-05-01-13-00-00",
      ].join("\n"),
    );
    expect(source.format).toBe("zeek");
    expect(linesOfRows(rows)).toEqual([
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 S",
      "tcp 10.0.2.6:3306 > 10.0.1.5:40001 SA",
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 A",
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 PA",
      "tcp 10.0.2.6:3306 > 10.0.1.5:40001 PA",
      "tcp 10.0.1.5:40002 > 10.0.2.6:22 S",
      "tcp 10.0.1.5:40003 > 10.0.2.6:23 S",
      "tcp 10.0.2.6:23 > 10.0.1.5:40003 RA",
      "icmp 10.0.1.5 > 10.0.2.6 8",
      "icmp 10.0.2.6 > 10.0.1.5 0",
      // A minute later, although its line came first.
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 FA",
      "tcp 10.0.2.6:3306 > 10.0.1.5:40001 FA",
      "tcp 10.0.1.5:40001 > 10.0.2.6:3306 A",
    ]);
  });

  it("takes the number of a protocol from ip_proto, and nothing from records that have none", async () => {
    const record = {
      ts: "2024-05-01T12:00:00.5Z",
      "id.orig_h": "10.0.1.5",
      "id.resp_h": "10.0.2.6",
      proto: "unknown_transport",
      conn_state: "OTH",
    };
    const lines = [{ ...record, ip_proto: 47 }, record].map((each) => JSON.stringify(each));
    const { source, rows } = await readTraffic(lines.join("\n"));
    expect(linesOfRows(rows)).toEqual(["gre 10.0.1.5 > 10.0.2.6"]);
    expect([...source.skipped]).toEqual([["transport protocol that Zeek does not know", 1]]);
  });

  it("reads JSON lines", async () => {
    const { source, rows } = await readTraffic(
      JSON.stringify({
        ts: 1714564800.5,
        "id.orig_h": "fd00::1",
        "id.orig_p": 128,
        "id.resp_h": "fd00::2",
        "id.resp_p": 129,
        proto: "icmp",
        conn_state: "OTH",
        orig_pkts: 1,
        resp_pkts: 1,
      }),
    );
    expect(source.format).toBe("zeek");
    expect(linesOfRows(rows)).toEqual(["icmpv6 fd00::1 > fd00::2 128", "icmpv6 fd00::2 > fd00::1 129"]);
  });
});

describe("CSV", () => {
  it("understands headers by many names, quotes, and says which columns are missing", async () => {
    const { source, rows } = await readTraffic(
      'src_ip;"dst ip";dst_port;proto;action;team\n10.0.1.5;10.0.2.6;53;udp;"allow";"a;b"\n10.0.1.5;nope;53;udp;deny;x\n10.0.1.5;10.0.2.6;99999;udp;deny;x\n',
    );
    expect(source.format).toBe("csv");
    expect(linesOfRows(rows)).toEqual(["udp 10.0.1.5:40000 > 10.0.2.6:53"]);
    expect(source.skipped.get("no address known for nope")).toBe(1);
    expect(source.issues.map(({ line }) => line)).toEqual([3 + 1]);
    expect(source.notes.join("\n")).toContain("no column for time, sourcePort, bytes");
    expect(source.notes.join("\n")).toContain("columns not understood: team");
  });
});

describe("packet lines", () => {
  it("are the packets themselves; the first bad line ends them", async () => {
    const { source, rows } = await readTraffic(
      [
        '{"protocol":"tcp","source":"10.0.1.5","destination":"10.0.2.6","destinationPort":80,"time":1}',
        '{"protocol":"tcp","source":"10.0.1.5","destination":"10.0.2.6","destinationPort":81}',
        '{"protocol":"tcp","source":"10.0.1.5","destination":"10.0.2.6"}',
        '{"protocol":"udp","source":"10.0.1.5","destination":"10.0.2.6","destinationPort":82}',
      ].join("\n"),
    );
    expect(source.format).toBe("packets");
    expect(source.isImplied).toBe(false);
    expect(rows.map(({ packet }) => [packet.destinationPort, packet.time])).toEqual([
      [80, 1],
      [81, 1],
    ]);
    expect(source.issues).toEqual([
      expect.objectContaining({ severity: "error", line: 3, message: expect.stringContaining("destinationPort") }),
    ]);
  });
});

describe("what records imply", () => {
  it("is valid to connection tracking, over several records of each connection in either order", async () => {
    const tuple = (from: string, to: string) => `${from} ${to}`;
    const aws = Array.from({ length: 60 }, (_, index) => {
      const [client, server] = ["10.0.1.5", "10.0.2.6"];
      const port = 40_000 + (index % 7);
      const start = 1_418_530_000 + 60 * Math.floor(index / 14);
      const isAnswer = (index >>> 1) % 2 === 0;
      const ends = isAnswer ? tuple(server, client) : tuple(client, server);
      const ports = isAnswer ? `3306 ${port}` : `${port} 3306`;
      return `2 123456789010 eni-1 ${ends} ${ports} 6 20 ${1000 * index} ${start} ${start + 60} ACCEPT OK`;
    });
    const { rows } = await readTraffic(aws.join("\n"));
    const states = statesOf(rows.map(({ packet }) => packet));
    expect(states).toEqual({ new: 7, established: rows.length - 7, other: 0 });

    const header =
      "#separator \\x09\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\tconn_state\torig_ip_bytes\tresp_ip_bytes\n";
    const zeek = ["S0", "S1", "SF", "REJ", "RSTO", "RSTR", "RSTOS0", "SH", "OTH"].flatMap((state, index) =>
      ["tcp", "udp"].map(
        (proto) =>
          `17145648${10 + index}.25\t10.0.1.5\t${40_000 + index}\t10.0.2.6\t80\t${proto}\t${index}.5\t${state}\t5000\t70000`,
      ),
    );
    const read = await readTraffic(header + zeek.join("\n"));
    expect(read.source.issues).toEqual([]);
    expect(statesOf(read.rows.map(({ packet }) => packet)).other).toBe(0);
  });
});

describe("formats", () => {
  it("that are none are refused with what was found", async () => {
    await expect(readTraffic("hello world\n")).rejects.toThrow(/"hello world".*pcap, pcapng/);
    await expect(readTraffic(Uint8Array.of(0x1f, 0x8b, 8, 0))).rejects.toThrow(/byte 0/);
    await expect(readTraffic('{\n  "flow": {\n')).rejects.toThrow(/jq -c/);
    expect((await readTraffic("\n")).rows).toEqual([]);
  });

  it("give the same whatever pieces the input comes in", async () => {
    const line = '{"protocol":"tcp","source":"10.0.1.5","destination":"10.0.2.6","destinationPort":80}\n';
    const whole = await readTraffic(line.repeat(200));
    const pieces = await readTraffic(line.repeat(200), { pieces: 7 });
    expect(pieces.rows).toEqual(whole.rows);
    expect(whole.rows).toHaveLength(200);
  });
});
