%% @doc The queue of one key that several processes of this VM update at the same time.
%%
%% Without a queue, each of n processes would get the value, run its function, and lose to another one n - 1 times of n. The
%% queue reads the value once and hands it from process to process: each runs its function on the result of the one before it.
%% Then the queue puts the last result with one request, if the value in the bucket is still the one that it has read. All of
%% the batch learn the outcome after that. If the value was changed by somebody else, the batch begins again with the present value.
%%
%% A process that raises in its turn, ends, or is too late, is passed over: the next one gets the value from before. Its
%% exception counts only once the value on which its function has failed is known to have been that of the bucket.
%%
%% If the bucket refuses the result of a batch, its members are tried one by one, so that the error reaches only those whose own
%% change is refused.
%%
%% The queue ends a moment after it has become empty. It then ends with `normal', and has handled all that it has received.
%% @private
-module(kv_update_queue).

-export([start/2, join/3, turn_done/3, leave/2, request/2]).
-export([init/2]).

-export_type([change/0, ttl/0]).

%% `keep': the entry keeps its expiry. `default': the time to live that the bucket gives.
-type ttl() :: keep | default | infinity | pos_integer().
-type change() :: {put, term(), ttl()} | pop | none.
-type tag() :: absent | non_neg_integer().
-type value() :: absent | {value, term()}.

%% The most functions whose results are put with one request, and the milliseconds after which a batch takes no more.
-define(BATCH_MAX, 128).
-define(BATCH_TIME, 5).
%% Milliseconds.
-define(LINGER, 100).

-record(queue, {
    address :: gen_server:server_ref(),
    key :: term(),
    %% Those that wait, are in turn, or are done but not committed.
    members = #{} :: #{reference() => {Monitor :: reference(), Deadline :: integer() | infinity}},
    %% May hold some who have left.
    waiting = queue:new() :: queue:queue(reference()),
    limit = ?BATCH_MAX :: pos_integer()
}).

-record(batch, {
    base :: {tag(), value()},
    value :: value(),
    ttl = keep :: ttl(),
    changed = false :: boolean(),
    %% The last first.
    done = [] :: [reference()],
    count = 0 :: non_neg_integer(),
    ends :: integer()
}).

%% @doc Starts a queue, and monitors it.
-spec start(gen_server:server_ref(), term()) -> {pid(), reference()}.
start(Address, Key) ->
    spawn_monitor(?MODULE, init, [Address, Key]).

%% @doc Takes a place in the queue, until Deadline. The caller gets `{Place, turn, Value}', perhaps several times; each time it answers
%% with {@link turn_done/3}. In the end it gets `{Place, committed}' or `{Place, failed, Why}'. If the queue ends, it gets a DOWN
%% message of the monitor Place.
-spec join(pid(), integer() | infinity, pid()) -> reference().
join(Queue, Deadline, Member) ->
    Place = erlang:monitor(process, Queue, [{alias, demonitor}]),
    Queue ! {join, Place, Member, Deadline},
    Place.

%% @doc Tells the queue the change that the function of this process wants.
-spec turn_done(pid(), reference(), change()) -> ok.
turn_done(Queue, Place, Change) ->
    Queue ! {done, Place, Change},
    ok.

%% @doc Gives up the place. If the function of this process has run, its change may still be made.
-spec leave(pid(), reference()) -> ok.
leave(Queue, Place) ->
    true = erlang:demonitor(Place, [flush]),
    Queue ! {leave, Place},
    ok.

%% @doc Returns function and arguments, behind the key, of the request that makes a change if the value still has the tag.
-spec request({put, term(), ttl()} | pop, tag()) -> {kv_request:name(), [term()]}.
request(pop, Tag) -> {delete_tagged, [Tag]};
request({put, New, default}, Tag) -> {put_tagged, [Tag, New]};
request({put, New, Ttl}, Tag) -> {put_tagged, [Tag, New, Ttl]}.

%% @private
-spec init(gen_server:server_ref(), term()) -> ok.
init(Address, Key) ->
    idle(#queue{address = Address, key = Key}).

%%% Members

idle(Queue) ->
    receive
        Message -> next(heard(Message, Queue))
    after ?LINGER -> ok
    end.

%% Nobody waits here: the calls of a batch do.
next(Queue) ->
    case take(heard_all(Queue)) of
        {none, Empty} -> idle(Empty);
        {Place, Rest} -> begin_batch(put_back([Place], Rest))
    end.

heard_all(Queue) ->
    receive
        Message -> heard_all(heard(Message, Queue))
    after 0 -> Queue
    end.

heard({join, Place, Pid, Deadline}, #queue{members = Members, waiting = Waiting} = Queue) ->
    Monitor = erlang:monitor(process, Pid, [{tag, {gone, Place}}]),
    Queue#queue{members = Members#{Place => {Monitor, Deadline}}, waiting = queue:in(Place, Waiting)};
heard({leave, Place}, Queue) ->
    forget(Place, Queue);
heard({{gone, Place}, _Monitor, process, _Pid, _Reason}, Queue) ->
    forget(Place, Queue);
heard(_Late, Queue) ->
    Queue.

forget(Place, #queue{members = Members} = Queue) ->
    case maps:take(Place, Members) of
        {{Monitor, _}, Rest} ->
            true = erlang:demonitor(Monitor, [flush]),
            Queue#queue{members = Rest};
        error ->
            Queue
    end.

%% Takes the first who is still here.
take(#queue{members = Members, waiting = Waiting} = Queue) ->
    case queue:out(Waiting) of
        {{value, Place}, Rest} when is_map_key(Place, Members) -> {Place, Queue#queue{waiting = Rest}};
        {{value, _Left}, Rest} -> take(Queue#queue{waiting = Rest});
        {empty, _} -> {none, Queue}
    end.

put_back(Places, #queue{waiting = Waiting} = Queue) ->
    Queue#queue{waiting = queue:join(queue:from_list(Places), Waiting)}.

%% The outcome for some of those who are here.
tell(Places, Outcome, #queue{members = Members} = Queue) ->
    Here = [Place || Place <- Places, is_map_key(Place, Members)],
    _ = [Place ! erlang:insert_element(1, Outcome, Place) || Place <- Here],
    lists:foldl(fun forget/2, Queue, Here).

%%% A batch

begin_batch(Queue) ->
    case ask(fetch_tagged, [], Queue) of
        {exit, _} = Failed -> next(tell(queue:to_list(Queue#queue.waiting), {failed, Failed}, Queue));
        {error, _} = Refused -> next(tell(queue:to_list(Queue#queue.waiting), {failed, Refused}, Queue));
        Present -> batch_from(base(Present), Queue)
    end.

base({tagged, Tag, Value}) -> {Tag, {value, Value}};
base(absent) -> {absent, absent}.

batch_from({_Tag, Value} = Base, Queue) ->
    Ends = erlang:monotonic_time(millisecond) + ?BATCH_TIME,
    turns(#batch{base = Base, value = Value, ends = Ends}, heard_all(Queue)).

turns(#batch{count = Count} = Batch, #queue{limit = Limit} = Queue) when Count >= Limit ->
    commit(Batch, Queue);
turns(#batch{count = Count, ends = Ends} = Batch, Queue) ->
    case Count > 0 andalso erlang:monotonic_time(millisecond) >= Ends of
        true -> commit(Batch, Queue);
        false -> turn(Batch, take(Queue))
    end.

turn(#batch{count = 0}, {none, Queue}) ->
    next(Queue);
turn(Batch, {none, Queue}) ->
    commit(Batch, Queue);
turn(Batch, {Place, Queue}) ->
    Place ! {Place, turn, Batch#batch.value},
    in_turn(Place, Batch, Queue).

in_turn(Place, Batch, Queue) ->
    receive
        {done, Place, Change} ->
            turns(changed(Change, Batch#batch{done = [Place | Batch#batch.done], count = Batch#batch.count + 1}), heard_all(Queue));
        Message ->
            #queue{members = Members} = Heard = heard(Message, Queue),
            case is_map_key(Place, Members) of
                true -> in_turn(Place, Batch, Heard);
                false -> turns(Batch, Heard)
            end
    end.

changed(none, Batch) ->
    Batch;
changed(pop, Batch) ->
    Batch#batch{value = absent, ttl = default, changed = true};
changed({put, New, keep}, Batch) ->
    Batch#batch{value = {value, New}, changed = true};
changed({put, New, Ttl}, Batch) ->
    Batch#batch{value = {value, New}, ttl = Ttl, changed = true}.

commit(#batch{done = Done} = Batch, #queue{members = Members} = Queue) ->
    case lists:any(fun(Place) -> is_map_key(Place, Members) end, Done) of
        true -> committed(put_result(Batch, Queue), Batch, Queue);
        false -> next(Queue)
    end.

%% A batch that changes nothing has still seen a value, which must have been that of the bucket.
put_result(#batch{changed = false}, Queue) ->
    ask(fetch_tagged, [], Queue);
put_result(#batch{base = {Tag, _}} = Batch, Queue) ->
    {Function, Arguments} = request(change(Batch), Tag),
    ask(Function, Arguments, Queue).

change(#batch{value = absent}) -> pop;
change(#batch{value = {value, New}, ttl = Ttl}) -> {put, New, Ttl}.

committed(ok, Batch, Queue) ->
    succeeded(Batch, Queue);
committed({tagged, Tag, _}, #batch{changed = false, base = {Tag, _}} = Batch, Queue) ->
    succeeded(Batch, Queue);
committed(absent, #batch{changed = false, base = {absent, _}} = Batch, Queue) ->
    succeeded(Batch, Queue);
committed({exit, _} = Failed, #batch{done = Done}, Queue) ->
    next(tell(Done, {failed, Failed}, Queue));
committed({error, _} = Refused, #batch{done = [_] = Done}, Queue) ->
    next(tell(Done, {failed, Refused}, Queue));
committed({error, _}, #batch{done = Done, base = Base}, Queue) ->
    batch_from(Base, put_back(lists:reverse(Done), Queue#queue{limit = 1}));
committed(Present, #batch{done = Done, count = Count}, Queue) ->
    %% A smaller batch takes less time, and so has a better chance.
    Limit = max(1, Count div 2),
    batch_from(base(Present), put_back(lists:reverse(Done), Queue#queue{limit = Limit})).

succeeded(#batch{done = Done}, #queue{limit = Limit} = Queue) ->
    next(tell(lists:reverse(Done), {committed}, Queue#queue{limit = min(?BATCH_MAX, 2 * Limit)})).

%% Asks the bucket, for as long as one of those who are here waits.
ask(Function, Arguments, #queue{address = Address, key = Key, members = Members}) ->
    %% infinity is greater than any number.
    Deadline = lists:max([Deadline || {_Monitor, Deadline} <- maps:values(Members)]),
    try
        kv_request:call(Address, Function, [Key | Arguments], kv_deadline:remaining(Deadline))
    catch
        exit:{Reason, _Call} -> {exit, Reason}
    end.
