/** The one list of targets: one file for each kind of measurement, one line here. */
import { cyclonusTargets } from "./cyclonus.ts";
import { establishedTargets } from "./established.ts";
import { mapLookupTargets } from "./mapLookup.ts";
import { modelTargets } from "./model.ts";
import { newPacketTargets } from "./newPacket.ts";
import { replayTargets } from "./replay.ts";
import { scaleTargets } from "./scale.ts";
import type { Target } from "./target.ts";
import { walkTargets } from "./walk.ts";

export const TARGETS: readonly Target[] = [
  ...establishedTargets,
  ...newPacketTargets,
  ...walkTargets,
  ...mapLookupTargets,
  ...scaleTargets,
  ...cyclonusTargets,
  ...modelTargets,
  ...replayTargets,
];
