export {
  type ChainArbitraryOptions,
  chainArbitrary,
  imageOptionsArbitrary,
  virtualSizeArbitrary,
} from "./arbitraries.ts";
export { CONTENT_KINDS, type ContentKind, type ContentOptions, content } from "./content.ts";
export { CopyingStorage, type HostCopies } from "./copying-storage.ts";
export { CountingStorage } from "./counting-storage.ts";
export { DiskModel, expectSameContent, firstDifference } from "./disk-model.ts";
export {
  contentOf,
  type DrawnChain,
  type DrawnLayer,
  type DrawnOperation,
  type DrawnQcow2Layer,
  type DrawnRawLayer,
  layersOf,
  modelOf,
  modelOfChain,
} from "./drawn-chain.ts";
export { type CrashState, crashStates, crashStatesOf, type FilesByRole } from "./engine/crash-states.ts";
export { Timeline, TimelineStorage } from "./engine/disk-timeline.ts";
export { engineOperationArbitrary } from "./engine/engine-arbitraries.ts";
export {
  type EngineCase,
  EngineCaseFailure,
  type EngineCaseOptions,
  engineCaseArbitrary,
  type RunCasesOptions,
  runCases,
} from "./engine/engine-cases.ts";
export { ENGINE_CODECS } from "./engine/engine-codecs.ts";
export {
  applyToImage,
  applyToModel,
  changeOf,
  type EngineOperation,
  type ModelChange,
} from "./engine/engine-operations.ts";
export {
  type BuiltShape,
  copyFiles,
  ENGINE_SHAPES,
  type EngineShape,
  type OpenShapeOptions,
  openShape,
  type ShapeFiles,
  shapeNamed,
  type WrapStorage,
} from "./engine/engine-shapes.ts";
export { ENGINE_SUITES, type EngineSuite } from "./engine/engine-suites.ts";
export { checkFaults, type FaultsOptions } from "./engine/faults.ts";
export { checkInterleaving, type InterleavedCase, interleavedCaseArbitrary } from "./engine/interleavings.ts";
export { checkLife, type LifeCase, type LifeStep, type LifeTurn, lifeCaseArbitrary } from "./engine/lives.ts";
export { checkModel, type ModelCase, modelCaseArbitrary } from "./engine/model.ts";
export { checkPowerCuts, type PowerCutOptions } from "./engine/power-cut.ts";
export {
  CHANGES_OF_DAMAGED,
  checkDamagedChange,
  type DamagedChange,
  imageToDamage,
  type RefcountDamage,
  refcountDamages,
} from "./engine/refcount-damage.ts";
export { checkRepair, type RepairCase, readableClusters, repairCaseArbitrary } from "./engine/repairs.ts";
export { shareWithSnapshot } from "./engine/share-with-snapshot.ts";
export {
  type MeasuredStorageCost,
  measureStorageCost,
  STORAGE_COST_CASES,
  type StorageCost,
  type StorageCostCase,
  type StorageCostName,
} from "./engine/storage-costs.ts";
export {
  checkTransaction,
  type TransactionCase,
  type TransactionCaseOptions,
  transactionCaseArbitrary,
} from "./engine/transactions.ts";
export { type FaultOptions, FaultyStorage } from "./faulty-storage.ts";
export { FixedSizeStorage } from "./fixed-size-storage.ts";
export { KeptStorage } from "./kept-storage.ts";
export {
  ALLOCATED,
  type DiskOperation,
  MemoryDisk,
  type MemoryDiskOptions,
  type SectorState,
  UNALLOCATED,
} from "./memory-disk.ts";
export { PlainStorage } from "./plain-storage.ts";
export { Random } from "./random.ts";
export { type RecordedOperation, RecordingStorage } from "./recording-storage.ts";
export { type StorageOperation, WrappedStorage } from "./wrapped-storage.ts";
