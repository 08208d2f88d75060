import { describe, expect, it } from "vitest";
import { TCP_FLAG } from "../../dataplane/packet.ts";
import { RECORDED } from "../../traffic/source.ts";
import { readTraffic } from "./readTraffic.ts";

describe("Calico's two reports of one flow", () => {
  const FLOW = {
    start_time: 1_714_564_800,
    end_time: 1_714_564_860,
    source_ip: "10.0.1.5",
    dest_ip: "10.0.2.6",
    dest_port: 3306,
    proto: "tcp",
    action: "allow",
    num_flows_completed: 1,
  };
  const SENT = { ...FLOW, reporter: "src", bytes_out: 3000, bytes_in: 9000 };
  const GOT = { ...FLOW, reporter: "dst", bytes_in: 3000, bytes_out: 9000 };
  const shifted = (flow: typeof GOT, seconds: number) => ({
    ...flow,
    start_time: flow.start_time + seconds,
    end_time: flow.end_time + seconds,
  });
  const read = async (flows: readonly object[]) => {
    const { source, rows } = await readTraffic(flows.map((flow) => JSON.stringify(flow)).join("\n"));
    const opening = rows.filter(({ packet }) => packet.tcpFlags === TCP_FLAG.S);
    return {
      ports: opening.map(({ packet }) => packet.sourcePort),
      recorded: opening.map((row) => row.recorded),
      bytes: rows.reduce((sum, { frameBytes }) => sum + frameBytes, 0),
      said: source.notes.filter((note) => note.includes("both ends")),
    };
  };
  const SAID = ["1 flow reported by both ends, and counted once"];
  const { accept, drop } = RECORDED;

  it.each<[string, readonly object[], object]>([
    ["count once", [SENT, GOT], { ports: [32_768], recorded: [accept], bytes: 12_000, said: SAID }],
    ["in either order", [GOT, SENT], { ports: [32_768], recorded: [accept], bytes: 12_000, said: SAID }],
    [
      "with source ports as well",
      [
        { ...SENT, source_port: 41_000 },
        { ...GOT, source_port: 41_000 },
      ],
      { ports: [41_000], recorded: [accept], bytes: 12_000, said: SAID },
    ],
    [
      "are denied when one end denies",
      [SENT, { ...GOT, action: "deny" }],
      {
        ports: [32_768],
        recorded: [drop],
        said: [`${SAID[0]}; 1 of them were allowed by one end and denied by the other, and count as denied`],
      },
    ],
    ["of intervals that overlap", [SENT, shifted(GOT, 59)], { recorded: [accept], said: SAID }],
    ["not of intervals one after the other", [SENT, shifted(GOT, 60)], { recorded: [accept, accept], said: [] }],
    ["not of one end twice", [SENT, SENT], { ports: [32_768, 32_769], said: [] }],
    ["a third report is another flow", [SENT, GOT, SENT], { ports: [32_768, 32_769], said: SAID }],
    ["not of other ports", [SENT, { ...GOT, dest_port: 3307 }], { ports: [32_768, 32_769], said: [] }],
  ])("%s", async (_, flows, expected) => {
    expect(await read(flows)).toMatchObject(expected);
  });

  it("are recognised far apart, too; a denial that comes so late stands beside", async () => {
    const others = Array.from({ length: 3000 }, (_, port) => ({ ...SENT, dest_port: 10_000 + port }));
    expect((await read([SENT, ...others, GOT])).ports).toHaveLength(3001);
    expect(
      (await read([SENT, ...others, { ...GOT, action: "deny" }])).recorded.filter((each) => each === drop),
    ).toEqual([drop]);
  });
});
