/** The seeded numbers of traffic, and what clusters need beside them. */
import { SeededRandom } from "../../traffic/generate/random.ts";

export class Random extends SeededRandom {
  /** A version 4 UUID (RFC 9562), as the API server gives objects. */
  uuid(): string {
    const hex = (digits: number) =>
      this.below(16 ** digits)
        .toString(16)
        .padStart(digits, "0");
    return `${hex(8)}-${hex(4)}-4${hex(3)}-${this.pick(["8", "9", "a", "b"])}${hex(3)}-${hex(6)}${hex(6)}`;
  }
}
