"""Does a flight that leaves New York now arrive late? 336,776 flights of 2013, declared once."""

import fivefold as ff

# Where the data comes from. A new file in a folder is a new partition: only it is read.
raw_flights = ff.Table("raw_flights", "data/flights/*.csv", nulls=("", "NA"),
                       checks=[ff.typed(), ff.check("distance > 0")])
timetable = ff.Table("timetable", "data/timetable.csv", nulls=("", "NA"))
raw_weather = ff.Table("raw_weather", "data/weather.csv", nulls=("", "NA"))
airports = ff.Table("airports", "data/airports.csv")
planes = ff.Table("planes", "data/planes.csv", nulls=("", "NA"), checks=[ff.unique("tailnum")])

# Clean and typed, clock times in UTC: a flight leaves at its scheduled minute plus its delay ...
departures = ff.View("departures", """
    select f.carrier || f.flight || '-' || f.origin || '-' || strftime(f.time_hour, '%Y%m%d%H') as flight_id,
           f.carrier, f.origin, f.dest, f.tailnum, f.distance, f.hour, f.dep_delay, f.arr_delay, p.seats,
           f.arr_time // 100 * 60 + f.arr_time % 100 as lands_at_minute,
           coalesce(a.tzone, 'America/Puerto_Rico') as zone,
           f.time_hour + to_minutes(f.minute) as scheduled_at,
           f.time_hour + to_minutes(f.minute + f.dep_delay) as departed_at
    from raw_flights f left join planes p on f.tailnum = p.tailnum left join airports a on f.dest = a.faa
    where f.dep_delay is not null""")
# ... and lands when the clock of its destination next shows the time of arrival
flights = ff.View("flights", """
    select * exclude (lands_at_minute, zone),
           timezone(zone, date_trunc('day', timezone(zone, departed_at::timestamptz)) + to_minutes(lands_at_minute)
             + to_days(if(lands_at_minute <= date_diff('minute', date_trunc('day', timezone(zone, departed_at::timestamptz)),
                                                       timezone(zone, departed_at::timestamptz)), 1, 0))) as arrived_at
    from departures""", time="departed_at", id="flight_id", checks=[
        ff.between("dep_delay", -120, 2000, on_fail="quarantine"), ff.unique("flight_id", on_fail="quarantine")])
landings = ff.View("landings", """
    select flight_id, origin, dest, carrier, tailnum, arr_delay, arrived_at from flights
    where arr_delay is not null""", time="arrived_at", id="flight_id")
observations = ff.View("observations", """
    select origin, time_hour as observed_at, temp, visib, wind_speed, wind_dir, precip from raw_weather""",
    time="observed_at")

# What is known at any moment about an airport, a plane, a route and a carrier
airport, plane = ff.Entity("airport", key="origin"), ff.Entity("plane", key="tailnum")
route, airline = ff.Entity("route", key=["origin", "dest"]), ff.Entity("airline", key="carrier")
# Departures are also told as they happen: what is known of an airport goes on from the flights above
takeoffs = ff.Stream("takeoffs", schema={"flight_id": str, "origin": str, "dep_delay": int}, time="departed_at",
                     id="flight_id", key="origin", history=flights, lateness="1h")
congestion = ff.FeatureView("congestion", airport, takeoffs, [
    ff.count(over="1h"), ff.mean("dep_delay", over="1h"), ff.mean("dep_delay", over="3h"), ff.max("dep_delay", over="1d")])
weather = ff.FeatureView("weather", airport, observations, ttl="6h", delay="30m", features=[
    ff.last("temp"), ff.last("visib"), ff.last("wind_speed"), ff.last("wind_dir"), ff.max("precip", over="3h")])
plane_history = ff.FeatureView("plane_history", plane, landings, ttl="30d", features=[
    ff.last("arr_delay"), ff.mean("arr_delay", over="7d")])
route_history = ff.FeatureView("route_history", route, landings, [
    ff.mean("arr_delay", over="14d"), ff.std("arr_delay", over="14d"), ff.quantile("arr_delay", 0.9, over="28d")])
carrier_history = ff.FeatureView("carrier_history", airline, landings, [ff.mean("arr_delay", over="12h")])

# Will it arrive more than 15 minutes late? Asked at the moment it leaves, answered from what was known then
arrives_late = ff.Target(flights, "arr_delay > 15", known="arrived_at")
split, metrics = ff.TimeSplit(test="2013-11-01"), ["auc", "average_precision", "logloss", "brier"]
late = ff.Model("late", arrives_late, split=split, metrics=metrics, features=[
        congestion, weather, plane_history, route_history, carrier_history,
        ff.Request("dep_delay", int), ff.Request("distance", int), ff.Request("hour", int), ff.Request("seats", int),
        ff.Request("carrier", str), ff.Request("dest", str),
        ff.Derived("crosswind", "wind_speed * abs(sin(radians(wind_dir)))")],
    learner=ff.learner("lightgbm", num_leaves=63, n_estimators=150, learning_rate=0.08),
    gates=[ff.Gate("auc", at_least=0.87), ff.Gate("logloss", beats="champion"),
           ff.Gate("auc", at_least=0.84, segment="origin")])
by_delay = ff.Model("by_delay", arrives_late, split=split, metrics=metrics, features=[ff.Request("dep_delay", int)],
                    learner=ff.learner("logistic"))

# One model, used twice: answered one flight at a time, and scored at midnight for all of the last day
# A version that is made canary answers three of ten planes, until what really happened shows which one is better
live = ff.Endpoint("late", late, rollout=ff.Canary("30%", by="tailnum"))
schedule = ff.View("schedule", """
    select t.carrier || t.flight || '-' || t.origin || '-' || strftime(t.time_hour, '%Y%m%d%H') as flight_id,
           t.origin, t.dest, t.carrier, t.tailnum, t.distance, t.hour, p.seats, 0 as dep_delay,
           date_trunc('day', t.time_hour) as asked_at, strftime(t.time_hour, '%Y-%m-%d') as day
    from timetable t left join planes p on t.tailnum = p.tailnum where t.tailnum is not null""", time="asked_at", id="flight_id")
tomorrow = ff.BatchJob("tomorrow", late, over=schedule, into=ff.Table("scores", "out/scores", partition="day"))
