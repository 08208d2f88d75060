/** Batches with the one before and the one after, for who has to look around a row: rows are copied, since a source reuses its own. */
import type { PacketBatch } from "../dataplane/packet.ts";
import { copyRow } from "../traffic/copyRow.ts";
import { BATCH_ROWS, createTrafficBatch, type TrafficBatch } from "../traffic/source.ts";
import { copyPlace, FrameBytes } from "./mergeTraffic.ts";

export interface Neighbourhood {
  readonly before: PacketBatch | undefined;
  readonly batch: TrafficBatch;
  readonly after: PacketBatch | undefined;
}

export async function* withNeighbours(batches: AsyncIterable<TrafficBatch>): AsyncGenerator<Neighbourhood> {
  const places = Array.from({ length: 3 }, () => new Place());
  let before: PacketBatch | undefined;
  let batch: TrafficBatch | undefined;
  let turn = 0;
  for await (const next of batches) {
    const after = (places[turn++ % places.length] ?? new Place()).keep(next);
    if (batch !== undefined) yield { before, batch, after: after.packets };
    before = batch?.packets;
    batch = after;
  }
  if (batch !== undefined) yield { before, batch, after: undefined };
}

/** Columns for one batch after the other. */
class Place {
  readonly #batch = createTrafficBatch(BATCH_ROWS);
  readonly #bytes = new FrameBytes(this.#batch);

  keep(source: TrafficBatch): TrafficBatch {
    const batch = this.#batch;
    this.#bytes.clear();
    for (let row = 0; row < source.packets.length; row++) {
      copyRow(source.packets, row, batch.packets, row);
      copyPlace(source, row, batch, row);
      batch.interfaceId[row] = source.interfaceId[row] ?? 0;
      this.#bytes.copy(source, row, row);
    }
    batch.packets.length = source.packets.length;
    return batch;
  }
}
