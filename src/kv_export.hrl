%% The format of a file of entries: docs/export-format.md.

-define(MAGIC, "KVEXPORT").
-define(VERSION, 1).
%% Magic, version, sum.
-define(HEADER_SIZE, 16).
%% The first byte of a record, and of the trailer.
-define(RECORD, 1).
-define(TRAILER, 2).
%% Bytes before the entry of a record, and of the sum after the entry.
-define(RECORD_HEAD, 13).
-define(SUM_SIZE, 4).
