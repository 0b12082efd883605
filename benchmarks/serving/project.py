"""The project that the benchmark serves: LightGBM with 100 trees of 31 leaves, 10 features of flights.

`plain` takes all ten with the request; `looked_up` takes five of them from two feature views.
"""

import fivefold as ff

REQUEST = ("month", "day", "hour", "sched_dep_time", "distance")
WEATHER = ("temp", "wind_speed", "precip", "visib", "pressure")
PARAMS = {"n_estimators": 100, "num_leaves": 31}

flights = ff.Table("flights", "flights.parquet", time="at")
weather = ff.Table("weather", "weather.parquet", time="at")
planes = ff.Table("planes", "planes.parquet", time="at")

airport = ff.FeatureView("airport", ff.Entity("airport", key="origin"), weather, ttl="3h",
                         features=[ff.last(c) for c in WEATHER])
plane = ff.FeatureView("plane", ff.Entity("plane", key="tailnum"), planes, ttl="30d",
                       features=[ff.last("dep_delay"), ff.last("arr_delay")])

plain = ff.Model(
    "plain", ff.Target(flights, "arr_delay"), learner=ff.learner("lightgbm", **PARAMS), split=ff.RandomSplit(0.2),
    features=[ff.Request(c, float) for c in (*REQUEST, *WEATHER)])
looked_up = ff.Model(
    "looked_up", ff.Target(flights, "arr_delay"), learner=ff.learner("lightgbm", **PARAMS), split=ff.RandomSplit(0.2),
    features=[*(ff.Request(c, float) for c in REQUEST), airport, plane])

# rows come again after a third of a second or more: the cache is looked into and filled, and never answers
plain_endpoint = ff.Endpoint("plain", plain, cache="100ms")
looked_up_endpoint = ff.Endpoint("looked_up", looked_up, cache="100ms")
