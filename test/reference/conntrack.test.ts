/** The plain model of connection tracking: against what the kernel said, and the dataplane's against it. */
import { describe, expect, it } from "vitest";
import type { ConntrackOptions } from "../../dataplane/conntrack/options.ts";
import { SCTP_STATE_NAMES } from "../../dataplane/conntrack/sctp.ts";
import { TCP_STATE_NAMES } from "../../dataplane/conntrack/tcpEntry.ts";
import { PlainConntrack } from "../../reference/conntrack/conntrack.ts";
import { Campaign } from "../../verify/fuzz/campaign.ts";
import { connectionText, readConnection } from "../../verify/fuzz/connectionFile.ts";
import { CONNTRACK_SETTINGS, type ConntrackSetting } from "../../verify/fuzz/connections.ts";
import { ConnectionTarget, drawConnections, holdConnections } from "../../verify/fuzz/connectionTarget.ts";
import { drawConversation } from "../../verify/fuzz/conversations.ts";
import { Coverage } from "../../verify/fuzz/coverage.ts";
import { mutateConnections } from "../../verify/fuzz/mutateConnections.ts";
import { Random } from "../../verify/kernel/random.ts";
import { describeEntry, parseTranscript, type TranscriptOptions } from "../dataplane/connectionTranscript.ts";
import { ICMP_TRANSCRIPTS, UDP_TRANSCRIPTS } from "../dataplane/datagramTranscripts.ts";
import { SCTP_TRANSCRIPTS } from "../dataplane/sctpTranscripts.ts";
import { TCP_TRANSCRIPTS, type Transcript } from "../dataplane/tcpTranscripts.ts";
import { isWhole } from "../extent.ts";
import { SEED } from "../seed.ts";

/** What the transcripts set, by the names of sysctl. */
function sysctlsOf({ tcpLoose, tcpBeLiberal, tcpIgnoreInvalidRst, timeouts = {} }: ConntrackOptions) {
  const { synSent, synRecv, established, unacknowledged } = timeouts.tcp ?? {};
  return {
    ...(tcpLoose === false && { tcp_loose: 0 }),
    ...(tcpBeLiberal === true && { tcp_be_liberal: 1 }),
    ...(tcpIgnoreInvalidRst === true && { tcp_ignore_invalid_rst: 1 }),
    ...(synSent !== undefined && { tcp_timeout_syn_sent: synSent }),
    ...(synRecv !== undefined && { tcp_timeout_syn_recv: synRecv }),
    ...(established !== undefined && { tcp_timeout_established: established }),
    ...(unacknowledged !== undefined && { tcp_timeout_unacknowledged: unacknowledged }),
  };
}

function holdTranscript({ text, options = {} }: Transcript, more: TranscriptOptions = {}): void {
  const all = { ...more, ...options };
  const model = new PlainConntrack(sysctlsOf(all));
  for (const line of parseTranscript(text, all)) {
    expect(model.see(line.packet, line.zone).state, line.text).toBe(line.state);
    if (line.isDropped) model.drop();
    else model.pass();
    if (line.entry.length === 0) continue;
    const entries = model
      .entries()
      .map(({ icmp, leftMs, ...entry }) => ({ ...entry, ...(icmp && { icmp }), timeout: leftMs / 1000, mark: 0 }));
    expect(describeEntry(entries, line), line.text).toBe(line.entry.join(" "));
  }
}

describe("the plain model says what the kernel said:", () => {
  it.each(TCP_TRANSCRIPTS)("TCP: $name", (transcript) => holdTranscript(transcript));
  it.each(SCTP_TRANSCRIPTS)("SCTP: $name", (transcript) => holdTranscript(transcript, { protocol: "sctp" }));
  it.each(UDP_TRANSCRIPTS)("$name", (transcript) => holdTranscript(transcript));
  it.each(ICMP_TRANSCRIPTS)("$name", (transcript) => holdTranscript(transcript));
});

describe("conversations", () => {
  it("are to the dataplane what they are to the plain model, in every state of a connection", () => {
    const random = new Random(SEED);
    const met = new Set<string>();
    for (let count = 0; count < (isWhole ? 1_200 : 250); count++) {
      const subject = drawConnections(random);
      expect(
        holdConnections(subject, (feature) => met.add(feature)),
        `seed ${SEED}, case ${count}`,
      ).toBeUndefined();
    }
    const states = [...TCP_STATE_NAMES.slice(1), ...SCTP_STATE_NAMES.slice(1)];
    const ways = states.flatMap((state) => ["original", "reply"].map((way) => `${way} ${state} `));
    const unmet = ways.filter((way) => ![...met].some((feature) => feature.includes(way)));
    expect(unmet.length).toBeLessThanOrEqual(isWhole ? 0 : ways.length / 4);
  });

  it("that are kept can be read again, and mean the same", async () => {
    const target = new ConnectionTarget({ random: new Random(3), coverage: new Coverage() });
    const files = (await target.step()).flatMap((event) => (event.kind === "kept" ? event.files : []));
    const drawn = drawConnections(new Random(3));
    const [file] = files;
    expect(file?.path).toMatch(/^connections\/[0-9a-f]{16}\.jsonl$/);
    expect(readConnection("kept.jsonl", String(file?.content))).toEqual(drawn);
  });

  it("are changed into others that are files as well, in which time goes on", () => {
    const random = new Random(5);
    let subject = drawConnections(random);
    for (let count = 0; count < 24; count++) {
      subject =
        count % 10 === 0 ? drawConnections(random) : mutateConnections(subject, drawConnections(random), random);
      expect(readConnection("changed.jsonl", connectionText(subject))).toEqual(subject);
      const times = subject.steps.map(({ packet }) => packet.time);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect(holdConnections(subject), `case ${count}`).toBeUndefined();
    }
  });

  it("that another job has kept are what a campaign goes on from", async () => {
    const settings = { seed: 1, job: 0, offset: 0, strategies: [], against: [], targets: ["connections"] };
    const meter = { now: () => 0, heapBytes: () => 0 };
    const campaign = new Campaign({ ...settings, features: [], causes: [] }, { meter, hire: () => undefined });
    // A conversation of a number that is never drawn: its client's port tells what was made of it.
    const steps = drawConversation(new Random(1), "tcp", 5_000);
    const content = connectionText({ held: "table", setting: CONNTRACK_SETTINGS[0] as ConntrackSetting, steps });
    campaign.learn([{ path: "connections/kept.jsonl", content }], []);
    const kept: string[] = [];
    for (let count = 0; count < 12; count++) {
      for (const report of await campaign.step()) {
        if (report.kind === "kept") kept.push(...report.files.map((file) => String(file.content)));
      }
    }
    expect(kept.filter((text) => text.includes("6024")).length).toBeGreaterThan(1);
    expect(kept.filter((text) => !text.includes("6024")).length).toBeGreaterThan(1);
  });

  it.each([
    ["", 1, '"held" is missing; allowed are table, node'],
    ['{"held":"table"}', 1, '"settings" is missing; allowed are defaults'],
    ['{"held":"table","settings":"defaults"}\n{"packet":7}', 2, "object"],
    ['{"held":"table","settings":"defaults"}\nnull', 2, "no JSON object: null"],
    [
      '{"held":"node","settings":"defaults"}\n\n{"packet":{"protocol":"udp","source":"a","destination":"10.0.0.1","destinationPort":53}}',
      3,
      "no address",
    ],
    [`${onePacket()},"zone":70000}`, 2, '"zone" is 70000; allowed are 0–65535'],
    [`${onePacket()},"dropped":1}`, 2, '"dropped" is 1; allowed are true, false'],
    [`${onePacket()},"windowScale":"x"}`, 2, '"windowScale" is "x"; allowed are 0–255'],
  ])("of %s are refused at line %i", (text, line, message) => {
    expect(readConnection("f.jsonl", text)).toMatchObject({
      file: "f.jsonl",
      line,
      message: expect.stringContaining(message),
    });
  });
});

function onePacket(): string {
  return '{"held":"table","settings":"defaults"}\n{"packet":{"protocol":"udp","source":"10.0.0.1","destination":"10.0.0.2","destinationPort":53}';
}
