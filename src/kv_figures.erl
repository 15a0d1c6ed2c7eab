%% @doc The figures of its native process that a proxy shows in a status report.
%% @private
-module(kv_figures).

-export([of_native/1]).

-define(TIMEOUT, 100).

%% @doc Returns figures of the native process. If the node does not answer within a moment, returns the last known
%% figures and their age. The process dictionary keeps them, too.
-spec of_native(pid()) -> map().
of_native(Native) ->
    case lists:member(node(Native), nodes(connected)) andalso kv_inspect:details([Native], plain, ?TIMEOUT) of
        {ok, [#{suspended := Suspended} = Process]} ->
            Figures = maps:with([size, memory, queue], Process),
            Now = calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]),
            _ = put('$kv_figures', Figures#{as_of => list_to_binary(Now)}),
            maps:merge(durable(Process, Figures), maps:from_list([{suspended, true} || Suspended]));
        _NoAnswer ->
            known_last(get('$kv_figures'))
    end.

%% Observer shows seven keys in full.
durable(#{durable := Policy}, #{queue := 0} = Figures) when Policy =/= false -> maps:remove(queue, Figures#{durable => Policy});
durable(#{durable := Policy}, Figures) when Policy =/= false -> Figures#{durable => Policy};
durable(_Process, Figures) -> Figures.

known_last(undefined) -> #{};
known_last(Figures) -> Figures.
