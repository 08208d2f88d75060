/**
 * What chainwalk reads from strangers: how a good input of each kind is made, and how it is read. A rejection must say
 * where in the input it is.
 */
import { compileNode, loadCluster } from "../../compiler/compile.ts";
import { importProgram, type NodeSaves } from "../../compiler/import/importProgram.ts";
import type { Issue } from "../../compiler/issue.ts";
import { formatYaml } from "../../compiler/manifest/parse.ts";
import { manifestsOf, manifestText } from "../../compiler/manifest/write.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Attachment, TableProgram } from "../../dataplane/program.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { TrafficError, type TrafficFormat } from "../../traffic/source.ts";
import { isProblem, parsePacketLine } from "../../traffic/transcript.ts";
import { PcapWriter } from "../../traffic/writePcap.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import type { Random } from "../kernel/random.ts";
import { REFERENCE } from "../lane.ts";
import { parseScenario } from "../scenario.ts";
import { packetSteps } from "./case.ts";
import { edgePackets } from "./edges.ts";
import { changesBetween, scenarioText } from "./finding.ts";
import { flowLog, LOG_FORMATS } from "./flowLogs.ts";
import type { Source } from "./mutate.ts";

/** What a reader said of an input. */
export interface Reading {
  readonly rejections: readonly Rejection[];
  /** What the input was about, for coverage. */
  readonly features: readonly string[];
}

export interface Rejection {
  readonly message: string;
  /** Undefined: the reader does not say where. */
  readonly place: string | undefined;
}

export interface InputFormat {
  readonly name: string;
  readonly extension: string;
  /** A good input. */
  make(source: Source): Uint8Array;
  /** Never throws, whatever the bytes: that is what is tried. */
  read(bytes: Uint8Array): Reading | Promise<Reading>;
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();

/** Words of the format's own, so that changes do more than break it. */
export const WORDS: Readonly<Record<string, readonly string[]>> = {
  manifests: [
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "!!set ",
    "? ",
    "|-\n",
    ">+9\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "{}",
    "[",
    "null",
    "~",
    ".inf",
    "0o7",
    "ipBlock",
    "endPort: 1",
    "podSelector",
    "matchExpressions",
    "10.0.0.0/33",
    "::ffff:1.2.3.4",
    "'",
    '"',
    "\t",
    "\u0085",
    "\uFEFF",
    "- - - -",
    "__proto__",
  ],
  "iptables-save": [
    "-m ",
    "-j ",
    "-g ",
    "! ",
    "-A ",
    "*filter\n",
    "COMMIT\n",
    ":",
    "[0:0]",
    '"',
    "\\",
    "--match-set ",
    "-p tcp ",
    "--dports ",
    "0x",
    "/",
    "65536",
    "-m comment --comment ",
    "--ctstate ",
    "--physdev-in ",
    "-s ",
    "::/0",
    "#",
  ],
  "ipset-save": [
    "create ",
    "add ",
    " nomatch",
    " timeout 1",
    "hash:net,port",
    "list:set",
    " family inet6",
    ",tcp:",
    "/33",
    " hashsize 0",
    " maxelem 0",
    '"',
    "-",
    "[",
    "comment ",
  ],
  interfaces: ["{", "}", ":", '"', "\\u0000", "\\", ",", "[", "null", "1e999", "default/a", "\uD800"],
  packets: [
    '"tcpFlags":"',
    '"quoted":{',
    '"time":1e308',
    '"time":-1',
    '"source":"node:"',
    '"protocol":256',
    '"sourcePort":65536',
    "{",
    "[",
    '"id":',
    "null",
    "\\u0000",
    "__proto__",
  ],
  scenario: [
    "steps:",
    "expect: ",
    "apply: ",
    "delete: ",
    "setAddress: ",
    "time: ",
    "only: ",
    "packet: ",
    "*a",
    "&a ",
    "- ",
    "[",
    "{",
    "Pod ",
    "NetworkPolicy ",
  ],
  pcap: [],
  pcapng: [],
};

export const FORMATS: readonly InputFormat[] = [
  {
    name: "manifests",
    extension: "yaml",
    make: ({ parts, random }) => {
      const manifests = manifestsOf(parts.cluster());
      // As kubectl prints them, and as JSON.
      return ENCODER.encode(random.oneIn(3) ? manifestText(manifests) : manifests.map(formatYaml).join("---\n"));
    },
    read: (bytes) => {
      const { model, issues, skipped } = loadCluster([{ name: "input.yaml", text: DECODER.decode(bytes) }]);
      if (model !== undefined) resolvePolicies(model);
      return readingOf(issues, [...skipped.keys(), `${model?.policies.length} ${model?.endpoints.length}`]);
    },
  },
  saveFormat(
    "iptables-save",
    (program) => renderIptablesSave(program, 4),
    (text) => ({ iptablesSave: text }),
  ),
  saveFormat("ipset-save", renderIpsetSave, (text) => ({ ipsetSave: text })),
  saveFormat(
    "interfaces",
    ({ attachment }) =>
      JSON.stringify(Object.fromEntries(attachment.pods.map((pod) => [pod.endpoint, pod.interface])), undefined, 1),
    (text) => ({ interfaces: text, iptablesSave: { name: "empty", text: "" } }),
  ),
  {
    name: "packets",
    extension: "jsonl",
    make: ({ parts, random }) => {
      const packets = packetsFor(parts.cluster(), random);
      return ENCODER.encode(packets.map((packet) => `${JSON.stringify(packetToObject(packet))}\n`).join(""));
    },
    read: (bytes) => {
      const rejections: Rejection[] = [];
      for (const [index, line] of DECODER.decode(bytes).split("\n").entries()) {
        if (line === "") continue;
        const packet = parsePacketLine(line);
        if (isProblem(packet)) rejections.push({ message: packet.problem, place: `line ${index + 1}` });
      }
      return { rejections, features: [] };
    },
  },
  {
    name: "scenario",
    extension: "yaml",
    make: ({ parts, random }) => {
      const [model, other] = [parts.cluster(), parts.cluster()];
      const none = {
        accused: STRATEGY_NAMES[0] ?? "",
        against: REFERENCE,
        expected: undefined,
        actual: undefined,
        thrown: undefined,
      };
      const steps = packetSteps(packetsFor(model, random));
      const text = scenarioText({ model, steps, fresh: true }, { ...none, step: undefined });
      const changes = changesBetween(model, other);
      return ENCODER.encode(changes.length === 0 ? text : formatYaml({ description: "drawn", steps: changes }));
    },
    read: (bytes) => {
      const { issues, scenario } = parseScenario(
        { name: "scenario.yaml", text: DECODER.decode(bytes) },
        STRATEGY_NAMES,
      );
      return readingOf(issues, [`${scenario?.steps.map(({ kind }) => kind).join()}`]);
    },
  },
  captureFormat("pcap", () => new PcapWriter(PACKET_LINK_TYPE)),
  captureFormat("pcapng", () => {
    const writer = new PcapngWriter({ application: "fuzz" });
    writer.addInterface({ linkType: PACKET_LINK_TYPE, name: "eth0" });
    return writer;
  }),
  ...LOG_FORMATS.map(logFormat),
];

const STRATEGY_NAMES: readonly string[] = [...STRATEGIES.map(({ name }) => name), REFERENCE];

export function formatNamed(name: string): InputFormat | undefined {
  return FORMATS.find((format) => format.name === name);
}

function packetsFor(model: ClusterModel, random: Random) {
  return edgePackets(model, random, 8).slice(0, 24);
}

function readingOf(issues: readonly Issue[], features: readonly string[]): Reading {
  return {
    rejections: issues
      .filter(({ severity }) => severity === "error")
      .map(({ message, line, column }) => ({
        message,
        place: line > 0 && column > 0 ? `${line}:${column}` : undefined,
      })),
    features: [...features, ...issues.map(({ code }) => code)],
  };
}

type Saves = Pick<NodeSaves, "iptablesSave" | "ipsetSave"> & { readonly interfaces?: string };

function saveFormat(
  name: string,
  textOf: (program: TableProgram) => string,
  saves: (text: string) => { readonly [K in keyof Saves]?: string | NodeSaves["iptablesSave"] },
): InputFormat {
  return {
    name,
    extension: "txt",
    make: ({ parts, random }) => ENCODER.encode(textOf(drawnProgram(parts.cluster(), random))),
    read: (bytes) => {
      const file = { name: "input", text: DECODER.decode(bytes) };
      const given = Object.fromEntries(
        Object.entries(saves(file.text)).map(([key, value]) => [key, typeof value === "string" ? file : value]),
      );
      const { program, issues } = importProgram({ ...given, node: "node-a", strategy: "none", attachment: ATTACHMENT });
      const kinds = program?.families.flatMap(({ tables }) =>
        tables.flatMap(({ chains }) =>
          chains.flatMap(({ rules }) =>
            rules.flatMap(({ matches, target }) => [target?.kind, ...matches.map(({ kind }) => kind)]),
          ),
        ),
      );
      return readingOf(issues, [...new Set(kinds), ...new Set(program?.sets.map(({ type }) => type))].map(String));
    },
  };
}

const ATTACHMENT: Attachment = { uplink: "eth0", pods: [], remotePodAddresses: [], localAddresses: [] };

/** What a solution with tables programs on the first node. */
function drawnProgram(model: ClusterModel, random: Random): TableProgram {
  const cluster = resolvePolicies(model);
  for (;;) {
    const program = compileNode(cluster, random.pick(STRATEGIES), { node: model.nodes[0]?.name ?? "" });
    if (program.kind === "tables") return program;
  }
}

function captureFormat(name: TrafficFormat, writerOf: () => PcapWriter | PcapngWriter): InputFormat {
  return {
    name,
    extension: name,
    make: ({ parts, random }) => {
      const writer = writerOf();
      for (const packet of packetsFor(parts.cluster(), random))
        writer.frame({ ...packetFrame(packet), interfaceId: 0 });
      return writer.take();
    },
    read: (bytes) => readTraffic(name, bytes),
  };
}

function logFormat(name: (typeof LOG_FORMATS)[number]): InputFormat {
  return {
    name,
    extension: "log",
    make: ({ parts, random }) => ENCODER.encode(flowLog(name, packetsFor(parts.cluster(), random))),
    read: (bytes) => readTraffic(name, bytes),
  };
}

async function readTraffic(format: TrafficFormat, bytes: Uint8Array): Promise<Reading> {
  try {
    const source = await openTraffic(once(bytes), { format });
    let rows = 0;
    for await (const { packets } of source.batches()) rows += packets.length;
    const rejections = source.issues
      .filter(({ severity }) => severity === "error")
      .map(({ message, offset, line }) => ({ message, place: placeText(offset, line) }));
    return { rejections, features: [`${Math.min(rows, 3)}`, ...source.skipped.keys(), ...source.notes] };
  } catch (error) {
    if (!(error instanceof TrafficError)) throw error;
    return { rejections: [{ message: error.message, place: `byte ${error.offset}` }], features: [] };
  }
}

function placeText(offset: number | undefined, line: number | undefined): string | undefined {
  if (offset !== undefined) return `byte ${offset}`;
  return line === undefined ? undefined : `line ${line}`;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
