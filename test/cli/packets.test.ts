import { describe, expect, it } from "vitest";
import { lineBlocks, textOf } from "../../cli/io.ts";
import { chainwalk, jsonLines, linesOf } from "./commandLine.ts";

const PACKETS = "trace -f scenarios/db-policy --packets -";

const line = (fields: object) =>
  `${JSON.stringify({ protocol: "tcp", source: "prod/api-pod", destination: "default/db", destinationPort: 3306, ...fields })}\n`;
const SYN = line({ id: "syn" });
const REPLY = line({
  source: "default/db",
  sourcePort: 3306,
  destination: "prod/api-pod",
  destinationPort: 40000,
  tcpFlags: "SA",
});

interface Result {
  readonly index: number;
  readonly id?: string | number;
  readonly strategy: string;
  readonly verdict: string;
  readonly ctState: string;
  readonly hops: readonly { readonly node: string; readonly verdict: string; readonly walk?: unknown }[];
}

async function results(command: string, stdin: string): Promise<readonly Result[]> {
  return jsonLines((await chainwalk(command, { stdin })).out) as readonly Result[];
}

/** So many characters without a line end, at a time, for ever; `read` counts them. */
async function* endless(read: { characters: number }): AsyncGenerator<string> {
  for (const piece = "a".repeat(1 << 20); ; read.characters += piece.length) yield piece;
}

describe("what never ends", () => {
  it("a line is refused with its number before it has taken all memory", async () => {
    const read = { characters: 0 };
    const stdin = async function* () {
      yield SYN;
      yield* endless(read);
    };
    const { code, out, err } = await chainwalk(PACKETS, { stdin: stdin() });
    expect({ code, err }).toEqual({ code: 2, err: "-:2:1: error: a line has more than 16777216 characters\n" });
    expect(linesOf(out)).toHaveLength(1);
    expect(read.characters).toBeLessThanOrEqual(1 << 25);
  });

  it("so is a text that has to be there as a whole", async () => {
    const read = { characters: 0 };
    await expect(textOf(endless(read), 3 << 20)).rejects.toThrow("more than 3145728 characters");
    expect(read.characters).toBeLessThanOrEqual(4 << 20);
  });

  it("lines come whole, however they are cut", async () => {
    const lines: string[] = [];
    const pieces = (async function* () {
      yield* ["a", "b\r", "\nc\n\n", "d", "", "e\nf"];
    })();
    for await (const block of lineBlocks(pieces)) lines.push(...block);
    expect(lines).toEqual(["ab", "c", "", "de", "f"]);
  });
});

describe("trace --packets", () => {
  it("pushes packets in order through one stateful fabric", async () => {
    const found = await results(PACKETS, SYN + REPLY);
    expect(found.map(({ index, id, verdict, ctState }) => [index, id, verdict, ctState])).toEqual([
      [0, "syn", "accept", "new"],
      [1, undefined, "accept", "established"],
    ]);
  });

  it("--fresh: each packet meets empty connection tracking", async () => {
    const found = await results(`${PACKETS} --fresh`, SYN + REPLY);
    expect(found.map(({ verdict, ctState }) => [verdict, ctState])).toEqual([
      ["accept", "new"],
      ["drop", "invalid"],
    ]);
  });

  it("--walk: each hop has the rules that matched, and without it none", async () => {
    const [without] = await results(PACKETS, SYN);
    expect(without?.hops.map(({ walk }) => walk)).toEqual([undefined, undefined]);
    const [withWalk] = await results(`${PACKETS} --walk`, SYN);
    expect(withWalk?.hops.map(({ walk }) => walk)).toMatchObject(
      [[["filter", "FORWARD", 1]], [["filter", "FORWARD", 1]]].map((one) => expect.arrayContaining(one)),
    );
  });

  it("several strategies answer each packet in the order of -s", async () => {
    const found = await results(`${PACKETS} -s weave-net,reference`, SYN + REPLY);
    expect(found.map(({ index, strategy }) => [index, strategy])).toEqual([
      [0, "weave-net"],
      [0, "reference"],
      [1, "weave-net"],
      [1, "reference"],
    ]);
  });

  it("reads a file, blank lines between, Windows line ends and no line end at all", async () => {
    const text = `${SYN}\r\n\n${REPLY.trimEnd()}`;
    const { code, out } = await chainwalk("trace -f scenarios/db-policy --packets some.jsonl", {
      files: { "some.jsonl": text },
    });
    expect(code).toBe(0);
    expect(jsonLines(out)).toHaveLength(2);
  });

  it("time passes in the packets: a connection that was silent too long is no longer known", async () => {
    const query = line({ protocol: "udp", source: "default/db", destination: "kube-system/dns", destinationPort: 53 });
    const answer = (time: number) =>
      line({
        time,
        protocol: "udp",
        source: "kube-system/dns",
        sourcePort: 53,
        destination: "default/db",
        destinationPort: 40000,
      });
    expect((await results(PACKETS, query + answer(1))).map(({ ctState }) => ctState)).toEqual(["new", "established"]);
    expect((await results(PACKETS, query + answer(600))).map(({ verdict }) => verdict)).toEqual(["accept", "reject"]);
  });

  const bad: readonly (readonly [what: string, line: string, message: string])[] = [
    ["no JSON", "{tcp\n", "not JSON"],
    ["no object", "[1]\n", "a packet is an object"],
    ["an unknown field", line({ destinationport: 80 }), 'unknown field "destinationport"'],
    ["an unknown pod", line({ destination: "default/nobody" }), "unknown pod default/nobody"],
    ["an unknown protocol", line({ protocol: "quic" }), "protocol is tcp, udp"],
    ["a port out of range", line({ destinationPort: 65536 }), "0-65535"],
    ["no port", line({ destinationPort: undefined }), "destinationPort is missing"],
    [
      "no destination",
      line({ destination: undefined }),
      "destination is an address, namespace/pod or node:NAME, found nothing",
    ],
    ["unknown flags", line({ tcpFlags: "SX" }), "FSRPAUEC"],
    ["time that runs back", line({ time: 1 }) + line({ time: 0.5 }), "time never decreases"],
    ["two families", line({ source: "fd00::1" }), "no IPv6 address"],
  ];

  it.each(bad)(
    "%s: an issue with the line number, exit 2, the results before it written",
    async (_what, text, message) => {
      const { code, out, err } = await chainwalk(PACKETS, { stdin: `${SYN}\n${text}${REPLY}` });
      const number = text.split("\n").length + 1;
      expect(err).toContain(message);
      expect(err).toMatch(new RegExp(`^-:${number}:1: error: `));
      expect(code).toBe(2);
      expect(jsonLines(out)[0]).toMatchObject({ index: 0, id: "syn" });
    },
  );

  it("a recording can be pushed again: what became of its packets is read over", async () => {
    const recorded = line({ verdict: "accept", hops: [{ node: "node-b", verdict: "accept" }], also: "drop" });
    expect(await results(PACKETS, recorded)).toMatchObject([{ verdict: "accept" }]);
  });

  it("table has one row a packet under a head", async () => {
    const rows = linesOf((await chainwalk(`${PACKETS} -o table`, { stdin: SYN + REPLY })).out);
    expect(rows[0]).toMatch(/^# +packet +verdict +state +why$/);
    expect(rows.slice(1)).toEqual([
      expect.stringMatching(
        /^1 +tcp prod\/api-pod:40000 > default\/db:3306 S +accept +new +ingress of default\/db: allowed/,
      ),
      expect.stringMatching(
        /^2 +tcp default\/db:3306 > prod\/api-pod:40000 SA +accept +established +part of a connection/,
      ),
    ]);
  });

  it("a long table is written in blocks, each with every row", async () => {
    const { out } = await chainwalk(`${PACKETS} -o table`, { stdin: SYN.repeat(2500) });
    expect(linesOf(out)).toHaveLength(2501);
  });

  it("Ctrl-C between packets: what is done is flushed, exit 130", async () => {
    const stop = new AbortController();
    async function* endless(): AsyncGenerator<string> {
      for (let count = 0; ; count++) {
        if (count === 10) stop.abort();
        yield SYN;
      }
    }
    const { code, out } = await chainwalk(PACKETS, { stdin: endless(), interrupted: stop.signal });
    expect(code).toBe(130);
    expect(jsonLines(out).length).toBeGreaterThanOrEqual(10);
  });
});

describe("trace --packets scenario.yaml", () => {
  const STORY =
    "trace -f scenarios/replies-after-the-rule-is-gone --packets scenarios/replies-after-the-rule-is-gone/scenario.yaml";

  it("walks the steps, changes of the cluster included", async () => {
    const found = await results(STORY, "");
    expect(found.map(({ verdict, ctState }) => `${verdict} ${ctState}`)).toEqual([
      "accept new",
      "accept established",
      "accept established",
      "accept established",
      "accept established",
      "reject new",
      "accept established",
      "reject new",
    ]);
    expect((await chainwalk(`${STORY} -o table`)).out).toContain("at 10 s: apply NetworkPolicy shop/web\n");
  });

  it("an expectation that is not met is a finding", async () => {
    const files = {
      "story.yaml":
        "description: d\nsteps:\n  - { packet: 'tcp default/intruder > default/db:3306', expect: accept }\n",
    };
    const { code, out } = await chainwalk("trace -f scenarios/db-policy --packets story.yaml -o table", { files });
    expect(code).toBe(1);
    expect(out).toContain("NOT AS EXPECTED: expected accept, got reject");
  });
});
