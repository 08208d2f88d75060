/** `version`: which chainwalk this is. */
import type { Command } from "commander";
import type { Session } from "./session.ts";

export function define(command: Command, session: Session): void {
  command.action(() => session.out.line(versionText(session)));
}

export function versionText({ io }: Session): string {
  return `chainwalk ${io.version()}`;
}
