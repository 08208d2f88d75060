/** Connection tracking that says what a test tells it to. */
import type { Connections } from "../../dataplane/tables/walk.ts";
import type { CtState } from "../../dataplane/verdict.ts";

export class GivenConnections implements Connections {
  state: CtState = "new";
  isPending = true;
  isFull = false;
  mark = 0;
  /** Zones asked for, packet by packet. */
  readonly zones: number[] = [];
  confirmed = 0;
  abandoned = 0;

  get isTracked(): boolean {
    return !this.isFull && this.state !== "invalid" && this.state !== "untracked";
  }

  lookup(_batch: unknown, _row: number, zone: number): CtState {
    this.zones.push(zone);
    return this.state;
  }

  lastWhy(): string {
    return "given";
  }

  confirm(): void {
    this.confirmed++;
  }

  abandon(): void {
    this.abandoned++;
  }
}
