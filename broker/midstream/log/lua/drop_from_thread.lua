-- Take streams that have expired off the lists of their thread.
--- include thread
for i = stream_ids_first, #stream_ids do forget_in_thread(thread_lists, thread, stream_ids[i]) end
return {'ok'}
