/** A file of its own, so that the page does not carry what writes JSON Schema. */
import { toJSONSchema } from "zod/mini";
import { scenarioSchema } from "./scenarioSchema.ts";

/** The published JSON Schema, as an object. */
export function scenarioJsonSchema(): object {
  return toJSONSchema(scenarioSchema, { io: "input" });
}
