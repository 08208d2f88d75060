import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { importProgram } from "../../compiler/import/importProgram.ts";
import type { SaveFile } from "../../compiler/import/lines.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { runsOf } from "../extent.ts";
import { hasShared } from "../shared.ts";
import { attachmentOf, clusterOf, savesIn } from "./dumps.ts";

/** One wrong byte, a piece cut out, repeated or moved: what broken disks, editors and copying do to a file. */
interface Mutation {
  readonly kind: "byte" | "cut" | "repeat" | "move";
  /** Places in the file, as parts of its length. */
  readonly from: number;
  readonly to: number;
  readonly value: number;
}

const place = fc.double({ min: 0, max: 1, noNaN: true });
const mutations: fc.Arbitrary<readonly Mutation[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("byte", "byte", "byte", "cut", "repeat", "move"),
    from: place,
    to: place,
    value: fc.oneof(fc.nat(255), fc.constantFrom(0x0a, 0x20, 0x21, 0x22, 0x2d, 0x2f, 0x3a, 0x5c)),
  }),
  { minLength: 1, maxLength: 6 },
);

/** Pieces are at most this long, so that most of a file stays what it is. */
const PIECE_BYTES = 200;

function mutate(bytes: Buffer, { kind, from, to, value }: Mutation): Buffer {
  const at = Math.floor(from * bytes.length);
  const end = Math.min(bytes.length, at + Math.floor(to * PIECE_BYTES));
  const [before, piece, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
  switch (kind) {
    case "byte":
      return Buffer.concat([before, Buffer.from([value]), bytes.subarray(at + 1)]);
    case "cut":
      return Buffer.concat([before, after]);
    case "repeat":
      return Buffer.concat([before, piece, piece, after]);
    case "move":
      return Buffer.concat([piece, before, after]);
  }
}

describe.runIf(hasShared)("recorded files with errors put into them", () => {
  const examples = [
    ["kube-router", "random-small"],
    ["kube-router", "dual-stack"],
    ["calico", "named-ports-edge"],
    ["calico", "dual-stack"],
    ["weave-net", "both-types"],
    ["romana", "db-policy"],
  ] as const;

  it.each(examples)(
    "%s %s: never throw, give every issue its place, and what is left can be loaded",
    (solution, name) => {
      const saves = savesIn(`${solution}/${name}/node-a`);
      const attachment = attachmentOf(solution, clusterOf(solution, name), "node-a");
      const lines = new Map(Object.values(saves).map((file) => [file.name, file.text.split("\n").length]));
      let broken = 0;
      const change = (file: SaveFile | undefined, all: readonly Mutation[]): SaveFile | undefined =>
        file && { name: file.name, text: all.reduce(mutate, Buffer.from(file.text)).toString("utf8") };
      fc.assert(
        fc.property(fc.constantFrom("ip", "ipset", "interfaces"), mutations, (which, all) => {
          const [ipv4, ipv6] = [change(saves.iptablesSave, all), change(saves.ip6tablesSave, all)];
          const [sets, interfaces] = [change(saves.ipsetSave, all), change(saves.interfaces, all)];
          const { program, issues } = importProgram({
            ...saves,
            ...(which === "ip" && ipv4 && { iptablesSave: ipv4 }),
            ...(which === "ip" && ipv6 && { ip6tablesSave: ipv6 }),
            ...(which === "ipset" && sets && { ipsetSave: sets }),
            ...(which === "interfaces" && interfaces && { interfaces }),
            node: "node-a",
            strategy: solution,
            attachment,
          });
          for (const { file, line, column, message } of issues) {
            expect(line).toBeGreaterThan(0);
            expect(line).toBeLessThan((lines.get(file) ?? 0) + 6 * PIECE_BYTES);
            expect(column).toBeGreaterThan(0);
            expect(message).not.toBe("");
          }
          if (program === undefined) broken++;
          else new Fabric([program]);
        }),
        { numRuns: runsOf(150) },
      );
      expect(broken).toBeGreaterThan(runsOf(150) / 8);
    },
  );
});
