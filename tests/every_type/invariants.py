"""Invariants of every record, live or golden."""

from msgspec import Struct

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import is_below

MAIN_ROLES = (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD)


def components_sum_to_the_total(record, tree):
    assert sum(component.parameters for component in record.components) == tree.total
    assert record.parameters.total == tree.total


def no_component_has_negative_parameters(record, _tree):
    assert all(component.parameters >= 0 for component in record.components)


def every_path_exists_and_belongs_to_one_component(record, tree):
    paths = _paths(record)
    assert len(paths) == len(set(paths))
    parameters = {path for path, _ in tree.root.parameter_paths()}
    for path in paths:
        assert tree.find(path) is not None or path in parameters, path


def every_parameter_belongs_to_a_component(record, tree):
    paths = _paths(record)
    for parameter, _ in tree.root.parameter_paths():
        assert any(is_below(parameter, path) for path in paths), parameter


def main_roles_are_found_or_absent(record, _tree):
    for role in MAIN_ROLES:
        assert bool(record.by_role(role)) != (role.value in record.absent)
    assert record.by_role(Role.LANGUAGE_MODEL)


def layer_orders_match_their_counts(record, _tree):
    for stack in _stacks(record):
        assert len(stack.order) in {0, stack.count}
        assert set(stack.order) in (set(), set(range(len(stack.kinds))))
        assert len(stack.kinds) == 1 or stack.order


def stacks_are_in_their_component_and_not_larger(record, tree):
    for component in record.components:
        inside = 0
        for stack in component.stacks:
            assert any(is_below(stack.path, path) for path in component.paths), stack.path
            node = tree.find(stack.path)
            assert node is not None, stack.path
            assert len(node.children) >= stack.count, stack.path
            inside += node.total
        # a tied stack is in the tree twice and counts once
        tied = sum(tree.duplicate_sizes())
        assert inside <= component.parameters + tied + _owned_by_inner(component, record)


def widths_are_positive(record, _tree):
    for stack in _stacks(record):
        for layer in stack.kinds:
            heads = [each.heads for each in _attentions(layer)] + [each.key_value_heads for each in _attentions(layer)]
            widths = [layer.mlp.input_width, layer.mlp.hidden_width] if layer.mlp else []
            assert all(number is None or number > 0 for number in [*heads, *widths])


def key_value_heads_divide_the_heads(record, _tree):
    for stack in _stacks(record):
        for layer in stack.kinds:
            for attention in _attentions(layer):
                if attention.heads and attention.key_value_heads and attention.mechanism == "attention":
                    assert attention.heads % attention.key_value_heads == 0


def experts_are_counted_within_their_layer(record, _tree):
    for stack in _stacks(record):
        for layer in stack.kinds:
            for experts in layer.mlp.experts if layer.mlp else ():
                assert experts.count > 1
                assert experts.per_token is None or 0 < experts.per_token <= experts.count
                assert experts.parameters is None or experts.count * experts.parameters <= layer.parameters


def active_parameters_are_of_language_model_and_head(record, _tree):
    active, total = record.parameters.active, record.parameters.total
    text = [part for part in record.components if part.role in {Role.LANGUAGE_MODEL, Role.LM_HEAD}]
    assert active is None or active == sum(part.active for part in text)
    assert active is None or total is None or 0 < active <= total
    for part in record.components:
        layers = [layer for stack in part.stacks for layer in stack.kinds]
        sparse = any(layer.mlp.experts for layer in layers if layer.mlp is not None)
        assert sparse or part.active in {None, part.parameters}


def unknown_keys_are_empty_fields_or_roles(record, _tree=None):
    for part in _records(record):
        allowed = set(part.__struct_fields__)
        if part is record:
            allowed |= {role.value for role in Role}
        for name in getattr(part, "unknown", {}):
            assert name in allowed, (type(part).__name__, name)
            if name in part.__struct_fields__:
                assert getattr(part, name) in {None, ()}, (type(part).__name__, name, getattr(part, name))
            else:
                assert not record.by_role(Role(name)), name


def class_names_are_not_empty(record, _tree=None):
    assert all(getattr(part, "class_name", None) != "" for part in _records(record))


def _records(part):
    if isinstance(part, tuple):
        for each in part:
            yield from _records(each)
    elif isinstance(part, Struct):
        yield part
        for name in part.__struct_fields__:
            yield from _records(getattr(part, name))


def _paths(record):
    return [path for component in record.components for path in component.paths]


def _stacks(record):
    return [stack for component in record.components for stack in component.stacks]


def _attentions(layer):
    return [each for each in (layer.attention, *layer.extra_attention) if each is not None]


def _owned_by_inner(component, record):
    return sum(
        other.parameters
        for other in record.components
        if other is not component and any(is_below(at, path) for at in other.paths for path in component.paths)
    )


INVARIANTS = (
    components_sum_to_the_total,
    no_component_has_negative_parameters,
    every_path_exists_and_belongs_to_one_component,
    every_parameter_belongs_to_a_component,
    main_roles_are_found_or_absent,
    layer_orders_match_their_counts,
    stacks_are_in_their_component_and_not_larger,
    widths_are_positive,
    key_value_heads_divide_the_heads,
    experts_are_counted_within_their_layer,
    active_parameters_are_of_language_model_and_head,
    unknown_keys_are_empty_fields_or_roles,
    class_names_are_not_empty,
)
