/** What the input can lead to, told apart from what only a mistake of ours can. */
import { BeyondCapacity } from "../../compiler/capacity.ts";
import { InvalidSetting } from "../../compiler/strategies/strategy.ts";

/** Something that was asked for and cannot be had; the message is for the person. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

export function isUsersMistake(error: unknown): error is Error {
  return [Refusal, BeyondCapacity, InvalidSetting].some((kind) => error instanceof kind);
}
