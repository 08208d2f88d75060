/** `traffic`: makes traffic between the pods of manifests, from a seed. */
import { type Command, Option } from "commander";
import type { Issue } from "../compiler/issue.ts";
import { parseYamlDocuments, type YamlDocument } from "../compiler/manifest/parse.ts";
import { formatPath } from "../compiler/manifest/values.ts";
import { type ClusterModel, isOnPodNetwork } from "../compiler/model.ts";
import type { IpAddress } from "../dataplane/address.ts";
import { type Packet, parseProtocol } from "../dataplane/packet.ts";
import { type CaptureWriter, PACKET_LINK_TYPE, packetFrame } from "../traffic/captureWriter.ts";
import { generateMix, type Mix, type MixProblem, readMix, unmatchedNames } from "../traffic/generate/mix.ts";
import { generatePattern, PATTERNS, type PatternName, SCAN_PORTS } from "../traffic/generate/patterns.ts";
import type { Port, TrafficEnd } from "../traffic/generate/sessions.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import { formatPacket, isProblem } from "../traffic/transcript.ts";
import { PcapWriter } from "../traffic/writePcap.ts";
import { PcapngWriter } from "../traffic/writePcapng.ts";
import { namerOf, resolverOf } from "../verify/who.ts";
import { addInputFlags, addOutputFlag, type InputFlags, parsePorts, wholeNumber } from "./flags.ts";
import { refuseIdle } from "./idle.ts";
import { loadModel, readText } from "./input.ts";
import { InvalidInput, UsageError } from "./io.ts";
import type { Session } from "./session.ts";

interface TrafficFlags extends InputFlags {
  readonly pattern?: PatternName;
  readonly mix?: string;
  readonly seed: number;
  readonly count?: number;
  readonly rate: number;
  readonly start: number;
  readonly from?: string;
  readonly to?: string;
  readonly port?: string;
  readonly family?: "4" | "6";
  readonly output: TrafficOutput;
}

const OUTPUTS = ["jsonl", "pcapng", "pcap", "text"] as const;
type TrafficOutput = (typeof OUTPUTS)[number];

const SEED_MOST = 0xffff_ffff;

export function define(command: Command, session: Session): void {
  const patterns = Object.entries(PATTERNS).map(([name, what]) => `  ${name.padEnd(10)} ${what}`);
  addOutputFlag(addInputFlags(command), OUTPUTS)
    .addOption(new Option("--pattern <NAME>", "the shape of the traffic, see below").choices(Object.keys(PATTERNS)))
    .option("--mix <FILE>", "a YAML description of who asks whom, see docs/traffic.md")
    .option("--seed <N>", "equal seeds give equal traffic", wholeNumber(0, SEED_MOST), 1)
    .option("--count <N>", "connections (packets of a scan or flood) at most", wholeNumber(1, 1e9))
    .option("--rate <N>", "connections a second", wholeNumber(1, 1e9), 100)
    .option("--start <SECONDS>", "time of the first packet, seconds since the epoch", wholeNumber(0, 1e11), 0)
    .option("--from <WHO>", "who opens connections; all pods when left out")
    .option("--to <WHO>", "to whom; all pods when left out")
    .option("--port <PROTO/PORT,…>", "which ports; when left out, those that pods declare")
    .addOption(new Option("--family <FAMILY>", "which addresses of the pods").choices(["4", "6"]))
    .addHelpText("after", `\nPatterns:\n${patterns.join("\n")}`)
    .action((flags: TrafficFlags) => {
      refuseIdle(command, [
        {
          flags: ["--count", "--rate", "--from", "--to", "--port"],
          why: "and --mix exclude each other: the file says who asks whom, and how often",
          isIdle: flags.mix !== undefined,
        },
      ]);
      return traffic(flags, session);
    });
}

async function traffic(flags: TrafficFlags, session: Session): Promise<void> {
  if ((flags.pattern === undefined) === (flags.mix === undefined)) {
    throw new UsageError(`one of --pattern (${Object.keys(PATTERNS).join(", ")}) and --mix FILE is needed`);
  }
  const isBinary = flags.output === "pcap" || flags.output === "pcapng";
  if (isBinary && session.io.stdout.isTerminal) {
    throw new UsageError(
      `-o ${flags.output} is no text: send it to a file or a program, as in > traffic.${flags.output}`,
    );
  }
  const model = await loadModel(session, flags.filename);
  const ends = podsOf(model, flags);
  const packets =
    flags.mix === undefined
      ? patternOf(flags, model, ends)
      : generateMix(await loadMix(flags.mix, ends, session), { ends, seed: flags.seed, start: flags.start });
  await write(packets, { flags, model, session });
}

/** Pods on the pod network, with their addresses of the family asked for. */
function podsOf(model: ClusterModel, { family }: TrafficFlags): readonly TrafficEnd[] {
  const ends = model.endpoints
    .filter(isOnPodNetwork)
    .map(({ key, addresses }) => ({ name: key, addresses: addresses.filter(isOfFamily(family)) }))
    .filter(({ addresses }) => addresses.length > 0);
  if (ends.length === 0) throw new UsageError("no pod with such an address there: traffic needs pods");
  return ends;
}

function isOfFamily(family: TrafficFlags["family"]): (address: IpAddress) => boolean {
  return (address) => family === undefined || String(address.family) === family;
}

function patternOf(flags: TrafficFlags, model: ClusterModel, ends: readonly TrafficEnd[]): Iterable<Packet> {
  const { pattern = "all-pairs", seed, start, count, rate } = flags;
  const sources = flags.from === undefined ? ends : [endOf(flags.from, model, flags)];
  const destinations = flags.to === undefined ? ends : [endOf(flags.to, model, flags)];
  const ports = flags.port === undefined ? portsOf(pattern, model) : parsePorts(flags.port);
  return generatePattern(pattern, { sources, destinations, ports, seed, start, count, rate });
}

/** A pod with all its addresses, or an address by itself. */
function endOf(who: string, model: ClusterModel, { namespace = "default", family }: TrafficFlags): TrafficEnd {
  const address = resolverOf(model, namespace)(who, family === undefined ? undefined : family === "4" ? 4 : 6);
  if (isProblem(address)) throw new UsageError(address.problem);
  const pod = model.endpoints.find(({ key }) => key === who || key === `${namespace}/${who}`);
  if (pod === undefined) return { name: who, addresses: [address] };
  return { name: pod.key, addresses: pod.addresses.filter(isOfFamily(family)) };
}

/** Every port that some pod declares; a scan tries those that scanners try. */
function portsOf(pattern: PatternName, { endpoints }: ClusterModel): readonly Port[] {
  if (pattern === "scan") return SCAN_PORTS;
  const found = new Map<string, Port>();
  for (const { protocol: name, port } of endpoints.flatMap(({ ports }) => ports)) {
    const protocol = parseProtocol(name);
    if (protocol !== undefined) found.set(`${protocol}/${port}`, { protocol, port });
  }
  const ports = [...found.values()].sort((a, b) => a.protocol - b.protocol || a.port - b.port);
  if (ports.length === 0) throw new UsageError("no pod declares a port: name some with --port tcp/80,udp/53");
  return ports;
}

async function loadMix(path: string, ends: readonly TrafficEnd[], session: Session): Promise<Mix> {
  const { documents, issues } = parseYamlDocuments({ name: path, text: await readText(session.io, path) });
  const [document] = documents;
  const { mix, problems } = readMix(document?.value);
  const found = mix === undefined ? problems : unmatchedNames(mix, ends);
  const all = [...issues, ...(issues.length > 0 ? [] : found.map((problem) => issueOf(problem, path, document)))];
  await session.report(all);
  if (mix === undefined || all.length > 0) throw new InvalidInput();
  return mix;
}

function issueOf({ path, message }: MixProblem, file: string, document: YamlDocument | undefined): Issue {
  const { line, column } = document?.positionOf(path) ?? { line: 0, column: 0 };
  return { code: "mix", severity: "error", message, file, line, column, path: formatPath(path) };
}

interface Destination {
  readonly flags: TrafficFlags;
  readonly model: ClusterModel;
  readonly session: Session;
}

async function write(packets: Iterable<Packet>, { flags, model, session }: Destination): Promise<void> {
  const progress = session.progress("packets");
  const name = namerOf(model);
  const writer = captureWriterOf(flags, model);
  const interfaceId = 0;
  try {
    for (const packet of packets) {
      if (writer === undefined) {
        const line = flags.output === "text" ? formatPacket(packet, name) : JSON.stringify(packetToObject(packet));
        await session.out.line(line);
      } else {
        writer.frame({ ...packetFrame(packet), interfaceId });
        if (writer.length >= CHUNK_BYTES) await session.out.bytes(writer.take());
      }
      if (!(await progress.step())) return;
    }
  } finally {
    if (writer !== undefined) await session.out.bytes(writer.take());
    await progress.done();
  }
}

/** One write to the system at a time. */
const CHUNK_BYTES = 1 << 18;

function captureWriterOf({ output, seed, pattern, mix }: TrafficFlags, model: ClusterModel): CaptureWriter | undefined {
  if (output === "pcap") return new PcapWriter(PACKET_LINK_TYPE);
  if (output !== "pcapng") return undefined;
  const what = pattern === undefined ? `mix ${mix}` : `pattern ${pattern}`;
  const writer = new PcapngWriter({ application: "chainwalk", comment: `chainwalk traffic, ${what}, seed ${seed}` });
  writer.addInterface({ linkType: PACKET_LINK_TYPE, name: "traffic" });
  // Wireshark wants names without blanks; a pod's is one.
  writer.addNames(
    model.endpoints
      .filter(isOnPodNetwork)
      .flatMap(({ key, addresses }) => addresses.map((address) => [address, key] as const)),
  );
  return writer;
}
