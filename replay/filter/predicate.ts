/** Filter expressions as functions of rows. Names are looked up once, when the function is made. */
import {
  type Cidr,
  cidrOf,
  hostCidr,
  type IpAddress,
  maskWord,
  parseAddress,
  parseCidr,
} from "../../dataplane/address.ts";
import type { PacketBatch } from "../../dataplane/packet.ts";
import type { Expression, FilterProblem, Side } from "./expression.ts";

export type RowPredicate = (batch: PacketBatch, row: number) => boolean;

/** The addresses a name stands for; undefined: nobody ever has the name. */
export type AddressesOf = (name: string) => readonly IpAddress[] | undefined;

/** Throws nothing; a name or network that means nothing is a problem with its column. */
export function predicateOf(expression: Expression, addressesOf: AddressesOf): RowPredicate | FilterProblem {
  switch (expression.kind) {
    case "and":
    case "or": {
      const left = predicateOf(expression.left, addressesOf);
      if (isFilterProblem(left)) return left;
      const right = predicateOf(expression.right, addressesOf);
      if (isFilterProblem(right)) return right;
      return expression.kind === "and"
        ? (batch, row) => left(batch, row) && right(batch, row)
        : (batch, row) => left(batch, row) || right(batch, row);
    }
    case "not": {
      const inner = predicateOf(expression.inner, addressesOf);
      return isFilterProblem(inner) ? inner : (batch, row) => !inner(batch, row);
    }
    case "family": {
      const { family } = expression;
      return (batch, row) => batch.family[row] === family;
    }
    case "protocol": {
      const { protocol } = expression;
      return (batch, row) => batch.protocol[row] === protocol;
    }
    case "ports":
      return portsPredicate(expression.side, expression.first, expression.last);
    case "host": {
      const { text, column, side } = expression;
      const own = parseAddress(text);
      const addresses = own === undefined ? addressesOf(text) : [own];
      if (addresses !== undefined) return anyCidr(side, addresses.map(hostCidr));
      const problem = `"${text}" is no address, namespace/pod or node:NAME of the manifests`;
      return { problem, column };
    }
    case "net": {
      const { text, column, side } = expression;
      const cidr = netOf(text);
      if (cidr !== undefined) return anyCidr(side, [cidr]);
      return { problem: `"${text}" is no network such as 10.0.0.0/8, 10.1 or fd00::/8`, column };
    }
  }
}

export function isFilterProblem(value: RowPredicate | Expression | FilterProblem): value is FilterProblem {
  return "problem" in value;
}

function portsPredicate(side: Side, first: number, last: number): RowPredicate {
  const isIn = (port: number | undefined): boolean => port !== undefined && port >= first && port <= last;
  return either(
    side,
    (batch, row) => hasPorts(batch, row) && isIn(batch.sourcePort[row]),
    (batch, row) => hasPorts(batch, row) && isIn(batch.destinationPort[row]),
  );
}

/** tcp, udp, sctp, udplite, dccp: elsewhere a port of 0 is no port. */
function hasPorts(batch: PacketBatch, row: number): boolean {
  const protocol = batch.protocol[row];
  return protocol === 6 || protocol === 17 || protocol === 132 || protocol === 136 || protocol === 33;
}

/** `10`, `10.1`, `10.1.2`: networks of as many bytes (pcap-filter(7)); a full address is a network of itself. */
function netOf(text: string): Cidr | undefined {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return cidr;
  const address = parseAddress(text);
  if (address !== undefined) return hostCidr(address);
  if (!/^\d{1,3}(?:\.\d{1,3}){0,2}$/.test(text)) return undefined;
  const octets = text.split(".");
  const padded = parseAddress([...octets, "0", "0", "0"].slice(0, 4).join("."));
  return padded === undefined ? undefined : cidrOf(padded, octets.length * 8);
}

function anyCidr(side: Side, cidrs: readonly Cidr[]): RowPredicate {
  const one = (end: "source" | "destination"): RowPredicate => {
    const tests = cidrs.map((cidr) => cidrPredicate(end, cidr));
    return (batch, row) => tests.some((test) => test(batch, row));
  };
  return either(side, one("source"), one("destination"));
}

function cidrPredicate(end: "source" | "destination", { family, words, prefixLength }: Cidr): RowPredicate {
  const columns = [`${end}0`, `${end}1`, `${end}2`, `${end}3`] as const;
  const tests = words.map((word, index) => ({
    column: columns[index] ?? columns[0],
    mask: maskWord(prefixLength - 32 * index),
    word,
  }));
  return (batch, row) =>
    batch.family[row] === family &&
    tests.every(({ column, mask, word }) => ((batch[column][row] ?? 0) & mask) === word);
}

function either(side: Side, source: RowPredicate, destination: RowPredicate): RowPredicate {
  switch (side) {
    case "source":
      return source;
    case "destination":
      return destination;
    case "either":
      return (batch, row) => source(batch, row) || destination(batch, row);
    case "both":
      return (batch, row) => source(batch, row) && destination(batch, row);
  }
}
