from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    PRESENT: _ClassVar[Status]
    NULL: _ClassVar[Status]
    ABSENT: _ClassVar[Status]
    EXPIRED: _ClassVar[Status]
STATUS_UNSPECIFIED: Status
PRESENT: Status
NULL: Status
ABSENT: Status
EXPIRED: Status

class GetRequest(_message.Message):
    __slots__ = ("features", "model", "rows", "rows_arrow", "at", "arrow")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_ARROW_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ARROW_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[str]
    model: str
    rows: _containers.RepeatedCompositeFieldContainer[Column]
    rows_arrow: bytes
    at: int
    arrow: bool
    def __init__(self, features: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., rows_arrow: _Optional[bytes] = ..., at: _Optional[int] = ..., arrow: _Optional[bool] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("as_of", "features", "arrow")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ARROW_FIELD_NUMBER: _ClassVar[int]
    as_of: int
    features: _containers.RepeatedCompositeFieldContainer[FeatureColumn]
    arrow: bytes
    def __init__(self, as_of: _Optional[int] = ..., features: _Optional[_Iterable[_Union[FeatureColumn, _Mapping]]] = ..., arrow: _Optional[bytes] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("stream", "rows", "rows_arrow")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_ARROW_FIELD_NUMBER: _ClassVar[int]
    stream: str
    rows: _containers.RepeatedCompositeFieldContainer[Column]
    rows_arrow: bytes
    def __init__(self, stream: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., rows_arrow: _Optional[bytes] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("accepted", "errors")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    errors: _containers.RepeatedCompositeFieldContainer[RowError]
    def __init__(self, accepted: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[RowError, _Mapping]]] = ...) -> None: ...

class RowError(_message.Message):
    __slots__ = ("row", "message", "hint")
    ROW_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    row: int
    message: str
    hint: str
    def __init__(self, row: _Optional[int] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...

class FeatureColumn(_message.Message):
    __slots__ = ("column", "statuses", "event_times")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_FIELD_NUMBER: _ClassVar[int]
    column: Column
    statuses: _containers.RepeatedScalarFieldContainer[Status]
    event_times: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, column: _Optional[_Union[Column, _Mapping]] = ..., statuses: _Optional[_Iterable[_Union[Status, str]]] = ..., event_times: _Optional[_Iterable[int]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "ints", "doubles", "bools", "texts", "times", "nulls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INTS_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ints: Ints
    doubles: Doubles
    bools: Bools
    texts: Texts
    times: Ints
    nulls: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., ints: _Optional[_Union[Ints, _Mapping]] = ..., doubles: _Optional[_Union[Doubles, _Mapping]] = ..., bools: _Optional[_Union[Bools, _Mapping]] = ..., texts: _Optional[_Union[Texts, _Mapping]] = ..., times: _Optional[_Union[Ints, _Mapping]] = ..., nulls: _Optional[_Iterable[int]] = ...) -> None: ...

class Ints(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Doubles(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Bools(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, values: _Optional[_Iterable[bool]] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...
