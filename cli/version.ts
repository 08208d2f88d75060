/** `version`: which chainwalk this is. */
import type { Command } from "commander";
import type { Session } from "./session.ts";

export function define(command: Command, session: Session): void {
  command.action(() => printVersion(session));
}

export async function printVersion(session: Session): Promise<void> {
  await session.out.line(`chainwalk ${session.io.version()}`);
}
