/**
 * Mixes of requests: who asks whom, how often, and whom those ask in turn before they answer. Described by a plain object
 * (a YAML file, read elsewhere).
 */
import { parseAddress } from "../../dataplane/address.ts";
import { type Packet, PROTOCOL, parseProtocol } from "../../dataplane/packet.ts";
import { SeededRandom } from "./random.ts";
import { exchangeOnce, linkOf, type Port, type Session, SourcePorts, type TrafficEnd, weave } from "./sessions.ts";

/** A call: what the caller asks the callee. */
export interface Call {
  /** `namespace/pod` with `*` for any letters, or an address; a pod is picked anew for each call. */
  readonly to: string;
  readonly port: Port;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** How often the caller's caller makes it ask, 0–1. */
  readonly probability: number;
  /** What the callee asks before it answers, one after the other. */
  readonly calls: readonly Call[];
}

export interface Request extends Call {
  readonly from: string;
  /** Requests a second on average, at random times. */
  readonly rate: number;
}

export interface Mix {
  /** Seconds. */
  readonly duration: number;
  readonly requests: readonly Request[];
}

/** What is wrong with a description, and where. */
export interface MixProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

type Path = MixProblem["path"];
type Fields = Readonly<Record<string, unknown>>;

const MIX_KEYS = ["description", "duration", "requests"] as const;
const CALL_KEYS = ["to", "port", "protocol", "requestBytes", "responseBytes", "probability", "calls"] as const;
const REQUEST_KEYS = ["from", "rate", ...CALL_KEYS] as const;

/** Calls in calls that are followed; a description cannot hold more by accident. */
const MAX_DEPTH = 16;

/** Reads a description; every problem is reported. */
export function readMix(value: unknown): { readonly mix: Mix | undefined; readonly problems: readonly MixProblem[] } {
  const problems: MixProblem[] = [];
  const reader = new MixReader(problems);
  const mix = reader.mix(value);
  return { mix: problems.length === 0 ? mix : undefined, problems };
}

class MixReader {
  readonly #problems: MixProblem[];

  constructor(problems: MixProblem[]) {
    this.#problems = problems;
  }

  mix(value: unknown): Mix {
    const fields = this.#fields(value, [], MIX_KEYS);
    const requests = this.#list(fields.requests, ["requests"]);
    if (requests.length === 0) this.#add(["requests"], "a mix has a list of requests, found none");
    return {
      duration: this.#number(fields, { path: [], key: "duration", least: 0.001, most: 1e9, otherwise: 10 }),
      requests: requests.map((item, index) => this.#request(item, ["requests", index])),
    };
  }

  #request(value: unknown, path: Path): Request {
    const fields = this.#fields(value, path, REQUEST_KEYS);
    return {
      ...this.#call(fields, path, 0),
      from: this.#text(fields, path, "from"),
      rate: this.#number(fields, { path, key: "rate", least: 1e-6, most: 1e6, otherwise: 1 }),
    };
  }

  #call(fields: Fields, path: Path, depth: number): Call {
    if (depth > MAX_DEPTH) this.#add(path, `calls go at most ${MAX_DEPTH} deep`);
    const calls = depth > MAX_DEPTH ? [] : this.#list(fields.calls, [...path, "calls"]);
    return {
      to: this.#text(fields, path, "to"),
      port: this.#port(fields, path),
      requestBytes: this.#number(fields, { path, key: "requestBytes", least: 0, most: 1e8, otherwise: 200 }),
      responseBytes: this.#number(fields, { path, key: "responseBytes", least: 0, most: 1e8, otherwise: 1200 }),
      probability: this.#number(fields, { path, key: "probability", least: 0, most: 1, otherwise: 1 }),
      calls: calls.map((item, index) => {
        const place = [...path, "calls", index];
        return this.#call(this.#fields(item, place, CALL_KEYS), place, depth + 1);
      }),
    };
  }

  #port(fields: Fields, path: Path): Port {
    const { protocol: name = "tcp" } = fields;
    const protocol = typeof name === "string" || typeof name === "number" ? parseProtocol(String(name)) : undefined;
    if (protocol === undefined) {
      this.#add([...path, "protocol"], `protocol is tcp, udp, sctp or a number 0-255, found ${JSON.stringify(name)}`);
    }
    const port = this.#number(fields, { path, key: "port", least: 0, most: 65_535, otherwise: undefined });
    return { protocol: protocol ?? PROTOCOL.tcp, port };
  }

  #fields(value: unknown, path: Path, allowed: readonly string[]): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.#add(path, `expected an object with ${allowed.join(", ")}, found ${JSON.stringify(value) ?? "nothing"}`);
      return {};
    }
    for (const key of Object.keys(value)) {
      if (!allowed.includes(key)) this.#add([...path, key], `unknown field ${key}; allowed are ${allowed.join(", ")}`);
    }
    return value as Fields;
  }

  #list(value: unknown, path: Path): readonly unknown[] {
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.#add(path, `expected a list, found ${JSON.stringify(value)}`);
    return [];
  }

  #text(fields: Fields, path: Path, key: string): string {
    const value = fields[key];
    if (typeof value === "string" && value !== "") return value;
    this.#add(
      [...path, key],
      `${key} is namespace/pod, with * for any letters, or an address; found ${JSON.stringify(value) ?? "nothing"}`,
    );
    return "";
  }

  #number(fields: Fields, wanted: NumberField): number {
    const { path, key, least, most, otherwise } = wanted;
    const value = fields[key] ?? otherwise;
    if (typeof value === "number" && value >= least && value <= most) return value;
    this.#add([...path, key], `${key} is a number ${least}-${most}, found ${JSON.stringify(value) ?? "nothing"}`);
    return least;
  }

  #add(path: Path, message: string): void {
    this.#problems.push({ path, message });
  }
}

interface NumberField {
  readonly path: Path;
  readonly key: string;
  readonly least: number;
  readonly most: number;
  /** Undefined: the field must be there. */
  readonly otherwise: number | undefined;
}

export interface MixOptions {
  readonly ends: readonly TrafficEnd[];
  readonly seed: number;
  /** Seconds since the epoch. */
  readonly start: number;
}

/** Names in the mix that match no end, each with its place. */
export function unmatchedNames(mix: Mix, ends: readonly TrafficEnd[]): readonly MixProblem[] {
  const problems: MixProblem[] = [];
  const look = (pattern: string, path: Path) => {
    if (endsMatching(pattern, ends).length === 0) {
      problems.push({ path, message: `no pod is called ${pattern}; there are ${listed(ends)}` });
    }
  };
  const walk = (call: Call, path: Path) => {
    look(call.to, [...path, "to"]);
    for (const [index, next] of call.calls.entries()) walk(next, [...path, "calls", index]);
  };
  for (const [index, request] of mix.requests.entries()) {
    look(request.from, ["requests", index, "from"]);
    walk(request, ["requests", index]);
  }
  return problems;
}

function listed(ends: readonly TrafficEnd[]): string {
  const names = ends.slice(0, 10).map(({ name }) => name);
  return names.length === 0 ? "none" : names.join(", ") + (ends.length > 10 ? ` and ${ends.length - 10} more` : "");
}

function endsMatching(pattern: string, ends: readonly TrafficEnd[]): readonly TrafficEnd[] {
  const address = parseAddress(pattern);
  if (address !== undefined) return [{ name: pattern, addresses: [address] }];
  const full = pattern.includes("/") ? pattern : `default/${pattern}`;
  const expression = new RegExp(`^${full.split("*").map(escaped).join(".*")}$`);
  return ends.filter(({ name }) => expression.test(name));
}

function escaped(text: string): string {
  return text.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
}

/** The packets of a mix, in order of time, made as they are asked for. */
export function generateMix(mix: Mix, options: MixOptions): Generator<Packet> {
  const ports = new SourcePorts();
  const streams = mix.requests.map(
    (request, index) => new Requests(request, mix.duration, { ...options, ports, index }),
  );
  return weave(inOrder(streams));
}

/** Sessions of several request streams, whichever starts next. */
function* inOrder(streams: readonly Requests[]): Generator<Session> {
  for (;;) {
    const next = streams.reduce<Requests | undefined>(
      (best, stream) => (best === undefined || stream.next < best.next ? stream : best),
      undefined,
    );
    if (next === undefined || !Number.isFinite(next.next)) return;
    yield next.take();
  }
}

interface StreamOptions extends MixOptions {
  /** Shared by all streams: two of them may have the same source. */
  readonly ports: SourcePorts;
  readonly index: number;
}

/** One line of the mix: requests at random times. */
class Requests {
  /** Start of the next one; infinite when the time is over. */
  next: number;
  readonly #request: Request;
  readonly #random: SeededRandom;
  readonly #ports: SourcePorts;
  readonly #end: number;
  readonly #matching = new Map<string, readonly TrafficEnd[]>();
  readonly #ends: readonly TrafficEnd[];
  #seed: number;

  constructor(request: Request, duration: number, { ends, seed, start, ports, index }: StreamOptions) {
    this.#ports = ports;
    this.#request = request;
    this.#random = new SeededRandom(seed + 7919 * index);
    this.#seed = seed + 104_729 * index;
    this.#ends = ends;
    this.#end = start + duration;
    this.next = start;
    this.#advance();
  }

  take(): Session {
    const start = this.next;
    this.#advance();
    const from = this.#pick(this.#request.from);
    const packets = from === undefined ? [] : this.#call(this.#request, from, start).packets;
    return { start, packets };
  }

  #advance(): void {
    const next = this.next + this.#random.gap(this.#request.rate);
    this.next = next <= this.#end ? next : Number.POSITIVE_INFINITY;
  }

  #pick(pattern: string): TrafficEnd | undefined {
    const known = this.#matching.get(pattern);
    const found = known ?? endsMatching(pattern, this.#ends);
    if (known === undefined) this.#matching.set(pattern, found);
    return found.length === 0 ? undefined : this.#random.pick(found);
  }

  /** The packets of a call and of all calls it leads to, in no order of time, and when the answer has come. */
  #call(call: Call, from: TrafficEnd, start: number): { readonly packets: readonly Packet[]; readonly end: number } {
    const to = this.#pick(call.to);
    const link = to === undefined ? undefined : linkOf(from, to);
    if (to === undefined || link === undefined || to.name === from.name) return { packets: [], end: start };
    const inner: Packet[] = [];
    const { port, requestBytes, responseBytes } = call;
    const sizes = { requestBytes, responseBytes };
    const told = { start, port, sourcePort: this.#ports.next(from), seed: this.#seed++, ...sizes };
    const { packets } = exchangeOnce(link, told, (asked) => {
      let time = asked;
      for (const next of call.calls) {
        if (this.#random.fraction() >= next.probability) continue;
        const answered = this.#call(next, to, time);
        inner.push(...answered.packets);
        time = answered.end;
      }
      return time + THINKING_SECONDS;
    });
    return { packets: [...packets, ...inner], end: packets.at(-1)?.time ?? start };
  }
}

/** What a server does beside asking others. */
const THINKING_SECONDS = 0.001;
