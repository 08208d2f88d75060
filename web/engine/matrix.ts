/** Rows of the truth table. */
import { parseProtocol } from "../../dataplane/packet.ts";
import { matrixFamily, matrixPods, matrixRow } from "../../verify/matrix.ts";
import type { MatrixAsk, MatrixRows } from "../messages.ts";
import type { Bench } from "./bench.ts";
import { Refusal } from "./refusal.ts";

export function matrixRows(bench: Bench, { strategy, port, first, count }: MatrixAsk): MatrixRows {
  const { cluster } = bench;
  const [name = "", number = "0"] = port.split("/");
  const protocol = parseProtocol(name);
  if (protocol === undefined) throw new Refusal(`${port} is no port; want tcp/80`);
  const pods = matrixPods(cluster.pods, matrixFamily(cluster));
  const lane = bench.lane(strategy);
  const last = Math.min(pods.length, first + count);
  const rows: string[] = [];
  for (let index = first; index < last; index++)
    rows.push(matrixRow(lane, pods, index, { protocol, port: Number(number) }));
  return { first, rows };
}
