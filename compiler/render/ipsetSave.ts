/** A node's IP sets as `ipset save` 7.17 prints them, for `ipset restore` to load. */
import { addressBits, type Cidr, formatAddress, formatCidr } from "../../dataplane/address.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { IPSet, IPSetMember, TableProgram } from "../../dataplane/program.ts";
import { sha256, toHex } from "../hash.ts";
import { SET_NAME_MAX_BYTES, withoutControls } from "../names.ts";
import { protocolText } from "./protocols.ts";
import { oneLine, word } from "./words.ts";

export interface IpsetSaveOptions {
  /** `before sets`: a `#` line with its origin before each set that has one. Restore skips such lines. */
  readonly origins?: "before sets";
}

/** Defaults of ipset(8), which `save` prints like any other value. */
const HASH_SIZE = 1024;
const MAX_ELEMENTS = 65_536;
const LIST_SIZE = 8;
/** AHASH_MAX_SIZE of ip_set_hash_gen.h: elements of a hash bucket. */
const BUCKET_SIZE = 12;

/** Sets in the order they were created, lists of sets after all others (ip_set_core.c dumps those last). */
export function renderIpsetSave(program: TableProgram, options: IpsetSaveOptions = {}): string {
  const lists = program.sets.filter(({ type }) => type === "list:set");
  const others = program.sets.filter(({ type }) => type !== "list:set");
  // Sets share members by the thousand (one pod in the sets of many policies): each is put into words once.
  const elements = new Map<IPSetMember, string>();
  return [...others, ...lists].map((set) => setText(set, options, elements)).join("");
}

function setText(set: IPSet, { origins }: IpsetSaveOptions, elements: Map<IPSetMember, string>): string {
  const name = word("set name", set.name, SET_NAME_MAX_BYTES);
  const origin = origins === undefined || set.origin === undefined ? "" : `# ${withoutControls(set.origin)}\n`;
  let text = `${origin}create ${name} ${set.type} ${createOptions(set)}\n`;
  for (const member of set.members) {
    let element = elements.get(member);
    if (element === undefined) {
      element = elementText(member);
      elements.set(member, element);
    }
    text += `add ${name} ${element}${memberOptions(set, member)}\n`;
  }
  return text;
}

function createOptions({ name, type, family, options }: IPSet): string {
  const extensions = [
    ...(options.timeoutSeconds === undefined ? [] : [`timeout ${options.timeoutSeconds}`]),
    ...(options.counters === true ? ["counters"] : []),
    ...(options.comment === true ? ["comment"] : []),
  ];
  if (type === "list:set") return [`size ${options.size ?? LIST_SIZE}`, ...extensions].join(" ");
  return [
    `family ${family === 4 ? "inet" : "inet6"}`,
    `hashsize ${options.hashSize ?? HASH_SIZE}`,
    `maxelem ${options.maxElements ?? MAX_ELEMENTS}`,
    ...extensions,
    `bucketsize ${BUCKET_SIZE}`,
    // The seed of the hash, random in a kernel. Here it comes from the name: each set has its own, always the same one.
    `initval 0x${toHex(sha256(name)).slice(0, 8)}`,
  ].join(" ");
}

/** An element as `ipset` prints it: `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1,tcp:80`, the name of a set. */
export function elementText(member: IPSetMember): string {
  switch (member.kind) {
    case "net":
      return netText(member.cidr);
    case "netPort":
      return `${netText(member.cidr)},${protocolText(member.protocol)}:${portText(member.protocol, member.port)}`;
    case "set":
      return word("set name", member.set, SET_NAME_MAX_BYTES);
  }
}

/** ICMP has type and code where others have a port (ipset(8), hash:ip,port). */
function portText(protocol: number, port: number): string {
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  return isIcmp ? `${port >>> 8}/${port & 255}` : String(port);
}

/** A host without its prefix length. */
function netText(cidr: Cidr): string {
  return cidr.prefixLength === addressBits(cidr.family) ? formatAddress(cidr) : formatCidr(cidr);
}

function memberOptions({ options }: IPSet, member: IPSetMember): string {
  const timeout = options.timeoutSeconds === undefined ? "" : ` timeout ${options.timeoutSeconds}`;
  const nomatch = member.kind !== "set" && member.nomatch === true ? " nomatch" : "";
  const counters = options.counters === true ? " packets 0 bytes 0" : "";
  // An empty comment is none.
  const comment = (member.comment ?? "") === "" ? "" : ` comment "${setComment(member.comment ?? "")}"`;
  return timeout + nomatch + counters + comment;
}

/** ipset(8): a comment ends at the first quote, nothing escapes one. */
function setComment(text: string): string {
  if (text.includes('"')) throw new Error(`comment ${JSON.stringify(text)} has a quote`);
  return oneLine("comment", text);
}
