/** `trace` of one packet. */
import { resolvePolicies } from "../compiler/compile.ts";
import { packetEnds } from "../compiler/policyReading.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import { hasPorts, type Packet, PROTOCOL } from "../dataplane/packet.ts";
import { TraceRecorder } from "../dataplane/trace.ts";
import { formatAnswer } from "../format/answer.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import { isProblem, packetOf } from "../traffic/transcript.ts";
import type { Lane } from "../verify/lane.ts";
import { namerOf, resolverOf } from "../verify/who.ts";
import { asksForImport, importedLanes } from "./imported.ts";
import { loadModel } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { lanesOf } from "./lanes.ts";
import { momentOf } from "./moment.ts";
import { firstStrategy, openShown, shownSaves, shownStory } from "./open.ts";
import type { Session } from "./session.ts";
import type { OneFormat, TraceFlags } from "./trace.ts";

type OneFlags = TraceFlags & { readonly from: string; readonly to: string };

export async function traceOne(flags: OneFlags, format: OneFormat, session: Session): Promise<void> {
  const { at } = flags;
  const story = at === undefined || flags.open !== true ? undefined : await shownStory(session, flags.filename);
  const moment = at === undefined ? undefined : await momentOf({ ...flags, at }, { walk: true }, session);
  const cluster = moment?.cluster ?? resolvePolicies(await loadModel(session, flags.filename));
  const packet = packetFromFlags(flags, cluster);
  const lanes = moment?.lanes ?? (await lanesFor(flags, cluster, packet, session));
  if (format === "iptables-trace") requireTables(lanes);
  for (const [index, lane] of lanes.entries()) {
    const recorder = new TraceRecorder();
    const answer = lane.push(packet, recorder);
    const view = {
      lane,
      packet,
      answer,
      cluster,
      steps: recorder.steps,
      nameOf: namerOf(cluster.model),
    };
    const lines = formatAnswer(view, { format, paint: session.paint, columns: session.io.stdout.columns });
    if (index > 0 && SPACED.has(format)) await session.out.line("");
    for (const line of lines) await session.out.line(line);
    if (answer.verdict === "unknown") session.end(EXIT.incomplete);
    if (flags.expect !== undefined && flags.expect !== answer.verdict) {
      await session.error(`${lane.name}: expected ${flags.expect}, got ${answer.verdict}`);
      session.end(EXIT.findings);
    }
  }
  // By its addresses, which mean the same packet whatever the names stand for.
  const shown = packetToObject(packet);
  const [step = 0, operation = Number.MAX_SAFE_INTEGER] = (at ?? "").split(".").map(Number);
  const state = {
    view: "walk",
    strategy: firstStrategy(flags),
    packets: [shown],
    ...(at !== undefined && { moment: { step, operation, packet: shown } }),
    ...(await shownSaves(flags, cluster, session)),
  } as const;
  await openShown(flags, { state, ...story }, session);
}

/** Formats of several lines, which stand apart when there are several strategies. */
const SPACED: ReadonlySet<OneFormat> = new Set(["summary", "detailed", "iptables-trace"]);

/** The kernel traces rules; what has none has nothing to show. */
function requireTables(lanes: readonly Lane[]): void {
  const without = lanes.find(
    ({ strategy, programs }) => strategy === undefined || programs.some(({ kind }) => kind === "maps"),
  );
  if (without === undefined) return;
  throw new UsageError(`${without.name} has no iptables rules to trace; use -o minimal, summary, detailed or json`);
}

/** A web server's, where a protocol with ports is traced without one. */
const DEFAULT_PORT = 80;

function packetFromFlags(flags: OneFlags, cluster: ResolvedCluster): Packet {
  const protocol = flags.protocol ?? PROTOCOL.tcp;
  const ports = hasPorts(protocol);
  if (!ports && (flags.port !== undefined || flags.sourcePort !== undefined)) {
    throw new UsageError("--port and --source-port are for protocols that have ports: tcp, udp, sctp");
  }
  if (flags.flags !== undefined && protocol !== PROTOCOL.tcp) throw new UsageError("--flags is for tcp");
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  if (!isIcmp && (flags.icmpType !== undefined || flags.icmpCode !== undefined)) {
    throw new UsageError("--icmp-type and --icmp-code are for --protocol icmp and icmpv6");
  }
  const text = {
    id: undefined,
    protocol,
    source: flags.from,
    destination: flags.to,
    sourcePort: flags.sourcePort ?? (ports ? 40_000 : 0),
    destinationPort: flags.port ?? (ports ? DEFAULT_PORT : 0),
    details: {
      ...(flags.flags !== undefined && { tcpFlags: flags.flags }),
      ...(flags.icmpType !== undefined && { icmpType: flags.icmpType }),
      ...(flags.icmpCode !== undefined && { icmpCode: flags.icmpCode }),
    },
    quoted: undefined,
  };
  const family = flags.family === undefined ? undefined : flags.family === "4" ? 4 : 6;
  const packet = packetOf(text, resolverOf(cluster.model, flags.namespace ?? "default"), family);
  if (isProblem(packet)) throw new UsageError(packet.problem);
  return packet;
}

/** Only the nodes that the packet can meet are compiled: those of its ends. */
async function lanesFor(
  flags: OneFlags,
  cluster: ResolvedCluster,
  packet: Packet,
  session: Session,
): Promise<readonly Lane[]> {
  if (asksForImport(flags)) return importedLanes(flags, cluster, session);
  const { source, destination } = packetEnds(cluster, packet);
  const nodes = [source, destination].flatMap(({ pod, node }) =>
    [pod?.node, node].filter((name) => name !== undefined),
  );
  return lanesOf(flags, cluster, { walk: true, nodes });
}
