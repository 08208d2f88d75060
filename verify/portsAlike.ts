/**
 * Destination ports that nobody can tell apart, for tables that ask about many: what is asked of one holds for all of them.
 * The reads of space.ts, without its addresses.
 */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Family } from "../dataplane/address.ts";
import { hasPorts } from "../dataplane/packet.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import type { Lane } from "./lane.ts";
import { MapPorts } from "./portsInMaps.ts";
import { blindSpots, SpaceReads } from "./spaceReads.ts";

/**
 * Names the class of a port: first packets of connections that differ in nothing but ports of one class get one verdict
 * from the lane. Each port is alone where programs read what the space is silent about, such as rates of packets.
 */
export function portClasses(lane: Lane, cluster: ResolvedCluster, family: Family): (port: Port) => string {
  const { programs } = lane;
  const maps = programs.filter((program) => program.kind === "maps");
  if (maps.length > 0 && maps.length === programs.length) {
    const ports = new MapPorts(maps);
    return (port) => (hasPorts(port.protocol) ? ports.classOf(port) : String(port.protocol));
  }
  if (maps.length > 0 || blindSpots(programs).length > 0) return ({ protocol, port }) => `${protocol}/${port}`;
  const reads = new SpaceReads(family);
  // The reference has no programs: it reads the policies themselves.
  if (programs.length === 0) reads.cluster(cluster);
  for (const program of programs) reads.program(program);
  const sorted = new Map([...reads.starts].map(([protocol, starts]) => [protocol, [...starts].sort((a, b) => a - b)]));
  return ({ protocol, port }) => {
    if (!hasPorts(protocol)) return String(protocol);
    const start = sorted.get(protocol)?.findLast((first) => first <= port) ?? 0;
    return `${protocol}/${start}`;
  };
}
