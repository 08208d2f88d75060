/** Packets through connection tracking, every one accepted. */
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { appendPacket, createBatch, type Packet } from "../../dataplane/packet.ts";

/** How many packets connection tracking sees in each state. */
export function statesOf(packets: Iterable<Packet>): {
  readonly new: number;
  readonly established: number;
  readonly other: number;
} {
  const table = new ConntrackTable();
  const batch = createBatch(1);
  const found = { new: 0, established: 0, other: 0 };
  for (const packet of packets) {
    batch.length = 0;
    const state = table.lookup(batch, appendPacket(batch, packet));
    if (table.isPending) table.confirm();
    if (state === "new") found.new++;
    else if (state === "established") found.established++;
    else found.other++;
  }
  return found;
}
