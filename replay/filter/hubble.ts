/**
 * Filters in the words of `hubble observe`: values of one flag are alternatives, different flags hold together, and what
 * stands behind `--not` is left out (github.com/cilium/cilium, hubble/cmd/observe).
 */
import { cidrContains, type IpAddress, parseAddress, parseCidr } from "../../dataplane/address.ts";
import { destinationOf, type PacketBatch, parseProtocol, sourceOf } from "../../dataplane/packet.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import type { AddressBook, Owner } from "../owners.ts";

export const HUBBLE_FLAGS = [
  "verdict",
  "pod",
  "from-pod",
  "to-pod",
  "from-namespace",
  "to-namespace",
  "ip",
  "from-ip",
  "to-ip",
  "port",
  "from-port",
  "to-port",
  "protocol",
] as const;
export type HubbleFlag = (typeof HUBBLE_FLAGS)[number];

/** One flag with one value, as it stood on the command line. */
export interface HubbleTerm {
  readonly flag: HubbleFlag;
  readonly value: string;
  readonly isNegated: boolean;
}

/** An end of a flow, and what the cluster knows of it. */
interface End {
  readonly address: IpAddress;
  readonly port: number;
  readonly owner: Owner | undefined;
}

interface FlowEnds {
  readonly source: End;
  readonly destination: End;
  readonly protocol: number;
}

type FlowTest = (flow: FlowEnds) => boolean;
type VerdictTest = (code: number) => boolean;

export interface HubbleFilter {
  opens(batch: PacketBatch, row: number): boolean;
  verdict(code: number): boolean;
}

/** Verdicts of Hubble and ours. */
const VERDICTS: ReadonlyMap<string, readonly number[]> = new Map([
  ["forwarded", [VERDICT_CODE.accept]],
  ["accept", [VERDICT_CODE.accept]],
  ["dropped", [VERDICT_CODE.drop, VERDICT_CODE.reject]],
  ["drop", [VERDICT_CODE.drop]],
  ["reject", [VERDICT_CODE.reject]],
  ["unknown", [VERDICT_CODE.unknown]],
]);

/** What is wrong with a value, or undefined. */
export function hubbleProblem({ flag, value }: HubbleTerm): string | undefined {
  const test = flag === "verdict" ? verdictTest(value) : flowTest(flag, value, "default");
  return typeof test === "string" ? `--${flag}: ${test}` : undefined;
}

/** Throws on a value for which `hubbleProblem` has something to say. `namespace` is that of pods named without one. */
export function hubbleFilter(terms: readonly HubbleTerm[], book: AddressBook, namespace: string): HubbleFilter {
  const wanted = new Map<HubbleFlag, FlowTest[]>();
  const unwanted: FlowTest[] = [];
  const wantedVerdicts: VerdictTest[] = [];
  const unwantedVerdicts: VerdictTest[] = [];
  for (const { flag, value, isNegated } of terms) {
    if (flag === "verdict") {
      const test = verdictTest(value);
      if (typeof test === "string") throw new Error(test);
      (isNegated ? unwantedVerdicts : wantedVerdicts).push(test);
      continue;
    }
    const test = flowTest(flag, value, namespace);
    if (typeof test === "string") throw new Error(test);
    if (isNegated) unwanted.push(test);
    else wanted.set(flag, [...(wanted.get(flag) ?? []), test]);
  }
  const groups = [...wanted.values()];
  const needsFlow = groups.length > 0 || unwanted.length > 0;
  return {
    opens: (batch, row) => {
      if (!needsFlow) return true;
      const flow = endsOf(batch, row, book);
      return groups.every((tests) => tests.some((test) => test(flow))) && !unwanted.some((test) => test(flow));
    },
    verdict: (code) =>
      (wantedVerdicts.length === 0 || wantedVerdicts.some((test) => test(code))) &&
      !unwantedVerdicts.some((test) => test(code)),
  };
}

function endsOf(batch: PacketBatch, row: number, book: AddressBook): FlowEnds {
  const end = (address: IpAddress, port: number): End => ({
    address,
    port,
    owner: book.owner(book.numberOf(address)),
  });
  return {
    source: end(sourceOf(batch, row), batch.sourcePort[row] ?? 0),
    destination: end(destinationOf(batch, row), batch.destinationPort[row] ?? 0),
    protocol: batch.protocol[row] ?? 0,
  };
}

function verdictTest(value: string): VerdictTest | string {
  const codes = VERDICTS.get(value.toLowerCase());
  if (codes === undefined) return `"${value}" is no verdict; allowed: ${[...VERDICTS.keys()].join(", ")}`;
  return (code) => codes.includes(code);
}

/** The test, or what is wrong with the value. */
function flowTest(flag: Exclude<HubbleFlag, "verdict">, value: string, namespace: string): FlowTest | string {
  if (flag === "protocol") {
    const protocol = parseProtocol(value);
    if (protocol === undefined) return `"${value}" is no protocol; allowed: tcp, udp, sctp, icmp, icmpv6, 0-255`;
    return (flow) => flow.protocol === protocol;
  }
  const test = endTest(flag, value, namespace);
  if (typeof test === "string") return test;
  if (flag.startsWith("from-")) return ({ source }) => test(source);
  if (flag.startsWith("to-")) return ({ destination }) => test(destination);
  return ({ source, destination }) => test(source) || test(destination);
}

function endTest(
  flag: Exclude<HubbleFlag, "verdict" | "protocol">,
  value: string,
  namespace: string,
): ((end: End) => boolean) | string {
  switch (flag) {
    case "pod":
    case "from-pod":
    case "to-pod": {
      // As Hubble has it: the name is a prefix, so that a workload's name finds its pods; `namespace/` finds all of it.
      const prefix = value.includes("/") ? value : `${namespace}/${value}`;
      return ({ owner }) => owner?.kind === "pod" && owner.name.startsWith(prefix);
    }
    case "from-namespace":
    case "to-namespace":
      return ({ owner }) => owner?.kind === "pod" && owner.pod.namespace === value;
    case "ip":
    case "from-ip":
    case "to-ip": {
      const address = parseAddress(value);
      const cidr = parseCidr(value) ?? (address && { ...address, prefixLength: address.family === 4 ? 32 : 128 });
      if (cidr === undefined) return `"${value}" is no address or network`;
      return (end) => cidrContains(cidr, end.address);
    }
    case "port":
    case "from-port":
    case "to-port": {
      const port = Number(value);
      if (!/^\d{1,5}$/.test(value) || port > 65_535) return `"${value}" is no port; allowed: 0-65535`;
      return (end) => end.port === port;
    }
  }
}
