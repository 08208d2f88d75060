/** The connections of a node as data, to be kept and gone on from. */
import type { FlowIndex, FlowIndexState } from "./flowIndex.ts";
import type { FlowStore, FlowStoreState } from "./flowStore.ts";
import type { TimerWheel, TimerWheelState } from "./timerWheel.ts";

export interface ConntrackParts {
  readonly store: FlowStore;
  readonly index: FlowIndex;
  readonly wheel: TimerWheel;
}

interface PartStates {
  readonly store: FlowStoreState;
  readonly index: FlowIndexState;
  readonly wheel: TimerWheelState;
}

export interface ConntrackState extends PartStates {
  /** Seconds; minus infinity: nothing was ever looked up. */
  readonly time: number;
  readonly pressureFrom: number;
}

export function saveParts({ store, index, wheel }: ConntrackParts): PartStates {
  return { store: store.save(), index: index.save(), wheel: wheel.save() };
}

export function restoreParts(parts: ConntrackParts, { store, index, wheel }: PartStates): void {
  parts.store.restore(store);
  parts.index.restore(index);
  parts.wheel.restore(wheel);
}
