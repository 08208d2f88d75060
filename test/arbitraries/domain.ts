// Moved to verify/fuzz/, where the command line may use it too; this stays until every test says so.
export * from "../../verify/fuzz/domain.ts";
